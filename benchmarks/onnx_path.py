"""onnxruntime-genai as a challenger of `benchmarks.story`: its batching engine over int8 weights that its own builder
makes. docs/engines.md says why Inkwell has no such engine. Needs onnxruntime-genai, onnx and onnx-ir.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.story_paths import SAMPLING, Measured, Timeline, cpu_s, own_resident, prompt_of, summary, unpacked
from models.serving.machine import physical_cores


def built(model: str, data_dir: str) -> Path:
    """The model as ONNX files, made once."""
    source = unpacked(model, data_dir)
    folder = Path(data_dir) / "onnx" / source.name
    if not (folder / "genai_config.json").exists():
        command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", str(source), "-o", str(folder)]
        command += ["-p", "int8", "-e", "cpu", "-c", str(folder / "cache")]
        subprocess.run(command, capture_output=True, check=True)
    return folder


def onnxruntime(model: str, data_dir: str, tokens: int, streams: list[int], report: Callable[[Measured], None]) -> None:
    import numpy
    import onnxruntime_genai as genai

    genai.disable_telemetry_events()
    config = genai.Config(str(built(model, data_dir)))
    decoder = {"session_options": {"intra_op_num_threads": physical_cores()}}
    batching = {"static_batching": {"max_batch_size": max(streams)}}
    config.overlay(json.dumps({"model": {"decoder": decoder}, "engine": batching}))
    network = genai.Model(config)
    tokenizer = genai.Tokenizer(network)

    def run(count: int, limit: int) -> list[Timeline]:
        engine = genai.Engine(network)
        events = engine.create_event_buffer(64)
        options = genai.RequestOptions()
        options.set_max_session_tokens(2_048)
        told: list[tuple[Any, Timeline]] = []
        for number in range(count):
            story = Timeline(asked=time.perf_counter())
            request = engine.create_request(options=options)
            turn = genai.TurnOptions(request)  # it takes no seed here: that needs paged attention, which needs a GPU
            turn.set_min_generated_tokens(limit)
            turn.set_max_generated_tokens(limit)
            turn.set_do_sample(True)
            turn.set_temperature(SAMPLING.temperature)
            turn.set_top_p(SAMPLING.top_p)
            turn.set_top_k(SAMPLING.top_k)
            turn.set_repetition_penalty(SAMPLING.repetition_penalty)
            request.begin_turn(numpy.array(tokenizer.encode(prompt_of(number)), dtype=numpy.int32), turn)
            told.append((request, story))
        token = int(genai.EngineEventFlags.TOKEN)
        while engine.has_pending_requests():
            for event in engine.run(events):
                if int(event.flags) & token:
                    story = next(story for request, story in told if request == event.request)
                    story.tokens += 1
                    story.pieces.append(time.perf_counter())
        return [story for _, story in told]

    run(1, 8)
    for count in streams:
        began, spent = time.perf_counter(), cpu_s()
        stories = run(count, tokens)
        report(summary("onnxruntime-genai", stories, time.perf_counter() - began, cpu_s() - spent, own_resident()))
