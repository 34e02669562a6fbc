"""The ways from a story to its continuation that `benchmarks.story` compares. Each runs in a process of its own and
prints what it measured as JSON:

    python -m benchmarks.story_paths inkwell-llama_cpp --model MODEL.gguf --streams 1 4 16

Every path gets the same prompt text, the same sampling and the same number of tokens to write. Knows no ratios.
"""

import argparse
import asyncio
import contextlib
import json
import resource
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.openings import opening
from models.language.continuation import build_prompt
from models.language.llama_cpp import physical_cores
from models.serving.requests import Sampling, StoryRequest

CONTEXT = 2_048
SAMPLING = Sampling(temperature=0.8, top_p=0.95, top_k=40, min_p=0.0, repetition_penalty=1.1)


@dataclass(kw_only=True)
class Timeline:
    """One story: when it was asked for, and when each piece of its text came, in seconds of one clock."""

    asked: float
    pieces: list[float] = field(default_factory=list)
    tokens: int = 0


@dataclass(frozen=True, kw_only=True)
class Measured:
    """`streams` stories at once. `cpu_s` is of every process of the path together; `resident_mib` is of the process
    that holds the model."""

    path: str
    streams: int
    tokens: int
    wall_s: float
    cpu_s: float
    first_p50_s: float
    first_p95_s: float
    between_p95_s: float
    resident_mib: float


def prompt_of(number: int) -> str:
    """The text that our own path gives the model, so that every path reads the same."""
    request = StoryRequest(request_id="prompt", story=opening(number), sampling=SAMPLING)
    return build_prompt(request, lambda text: len(text) // 3, CONTEXT)


def percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1] if len(values) > 1 else values[0]


def cpu_s() -> float:
    """CPU time of this process and of every child, living or gone."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    gone = resource.getrusage(resource.RUSAGE_CHILDREN)
    living = 0.0
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            times = child.cpu_times()
            living += times.user + times.system
    return own.ru_utime + own.ru_stime + gone.ru_utime + gone.ru_stime + living


def summary(path: str, stories: list[Timeline], wall_s: float, spent_s: float, resident: float) -> Measured:
    firsts = [story.pieces[0] - story.asked for story in stories]
    gaps = [later - sooner for story in stories for sooner, later in zip(story.pieces, story.pieces[1:], strict=False)]
    return Measured(
        path=path,
        streams=len(stories),
        tokens=sum(story.tokens for story in stories),
        wall_s=wall_s,
        cpu_s=spent_s,
        first_p50_s=percentile(firsts, 50),
        first_p95_s=percentile(firsts, 95),
        between_p95_s=percentile(gaps, 95),
        resident_mib=resident / 2**20,
    )


def own_resident() -> float:
    return float(psutil.Process().memory_info().rss)


# --- ours


async def inkwell(
    model: str,
    data_dir: str,
    tokens: int,
    streams: list[int],
    *,
    engine: str,
    slots: int,
    report: Callable[[Measured], None],
) -> None:
    """Engine, queue, worker process, socket and stream, as the bot uses them."""
    from models.serving.fair_queue import QueueLimits
    from models.serving.local_engine import LocalEngine
    from models.serving.requests import StoryOutput, TextDelta
    from models.serving.wire import WorkerConfig

    config = WorkerConfig(engine=engine, model=model, data_dir=data_dir, slots=slots, device="cpu", adapter="none")  # type: ignore[arg-type]
    local = LocalEngine([config], limits=QueueLimits(total=512, per_guild=512, per_user=512))
    await local.start()

    async def one(number: int, limit: int) -> Timeline:
        sampling = Sampling(
            max_new_tokens=limit,
            temperature=SAMPLING.temperature,
            top_p=SAMPLING.top_p,
            top_k=SAMPLING.top_k,
            min_p=SAMPLING.min_p,
            repetition_penalty=SAMPLING.repetition_penalty,
            seed=number,
        )
        name = f"{number}-{time.monotonic_ns()}"
        story = Timeline(asked=time.perf_counter())
        await local.submit(
            StoryRequest(request_id=name, story=opening(number), sampling=sampling, user=f"{number}", guild="one")
        )
        async for event in local.stream(name):
            if isinstance(event, TextDelta):
                story.pieces.append(time.perf_counter())
            elif isinstance(event, StoryOutput):
                story.tokens = event.new_tokens
        return story

    await one(99, 8)
    for count in streams:
        began, spent = time.perf_counter(), cpu_s()
        stories = await asyncio.gather(*(one(number, tokens) for number in range(count)))
        wall_s, used = time.perf_counter() - began, cpu_s() - spent
        resident = (await local.health()).workers[0].resident_bytes
        name = f"inkwell, {engine}"
        report(summary(name, list(stories), wall_s, used, resident))
    await local.close()


async def prefill(model: str, data_dir: str) -> dict[str, float]:
    """What the prefix cache saves when a long story is continued again and again."""
    from models.serving.local_engine import LocalEngine
    from models.serving.requests import StoryOutput, TextDelta
    from models.serving.wire import WorkerConfig

    local = LocalEngine(
        [WorkerConfig(engine="llama_cpp", model=model, data_dir=data_dir, device="cpu", adapter="none")]
    )
    await local.start()

    async def tell(name: str, story: str) -> tuple[StoryOutput, float]:
        sampling = Sampling(max_new_tokens=48, seed=7)
        asked, first = time.perf_counter(), 0.0
        await local.submit(StoryRequest(request_id=name, story=story, sampling=sampling))
        async for event in local.stream(name):
            if isinstance(event, TextDelta):
                first = first or time.perf_counter() - asked
            elif isinstance(event, StoryOutput):
                return event, first
        raise AssertionError("a stream ends with its output")

    await tell("warm", "Once upon a time there was a mill.")
    story = " ".join(opening(number) for number in range(10))
    cold, cold_first_s = await tell("cold", story)
    again, again_first_s = await tell("again", f"{story}{cold.text} And then")
    await local.close()
    return {
        "prompt_tokens": again.prompt_tokens,
        "cached_tokens": again.cached_tokens,
        "cold_first_s": cold_first_s,
        "again_first_s": again_first_s,
        "cold_prefill_s": cold.prefill_s,
        "again_prefill_s": again.prefill_s,
    }


# --- llama.cpp with nothing of ours around it


def llama_cpp(model: str, _: str, tokens: int, streams: list[int], report: Callable[[Measured], None]) -> None:
    import xllamacpp

    for count in streams:
        params = xllamacpp.CommonParams()
        params.model.path = model
        params.n_parallel = count
        params.n_ctx = count * CONTEXT
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = physical_cores()
        params.n_gpu_layers = 0
        params.ui = params.endpoint_slots = False
        params.verbosity = 1
        server = xllamacpp.Server(params)

        def one(number: int, limit: int, server: Any = server) -> Timeline:
            story = Timeline(asked=time.perf_counter())

            def read(chunk: Any) -> bool:
                if chunk.get("choices") and chunk["choices"][0].get("text"):
                    story.pieces.append(time.perf_counter())
                story.tokens = int((chunk.get("timings") or {}).get("predicted_n", story.tokens))
                return False

            server.handle_completions(
                {
                    "prompt": prompt_of(number),
                    "n_predict": limit,
                    "temperature": SAMPLING.temperature,
                    "top_p": SAMPLING.top_p,
                    "top_k": SAMPLING.top_k,
                    "min_p": 0.0,
                    "repeat_penalty": SAMPLING.repetition_penalty,
                    "repeat_last_n": 256,
                    "seed": number,
                    "ignore_eos": True,
                    "stream": True,
                    "cache_prompt": False,
                    "timings_per_token": True,
                },
                read,
            )
            return story

        one(99, 8)
        report(_in_threads("llama.cpp alone", one, count, tokens))
        del server


def _in_threads(path: str, one: Callable[[int, int], Timeline], count: int, tokens: int) -> Measured:
    stories: list[Timeline] = []
    threads = [threading.Thread(target=lambda n=n: stories.append(one(n, tokens))) for n in range(count)]  # type: ignore[misc]
    began, spent = time.perf_counter(), cpu_s()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return summary(path, stories, time.perf_counter() - began, cpu_s() - spent, own_resident())


# --- transformers' generate, one story after another


def generate(model: str, data_dir: str, tokens: int, streams: list[int], report: Callable[[Measured], None]) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.generation.streamers import BaseStreamer

    directory = unpacked(model, data_dir)
    tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
    network = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, local_files_only=True)

    class Clock(BaseStreamer):  # type: ignore[misc]
        def __init__(self, story: Timeline) -> None:
            self.story, self.prompt_seen = story, False

        def put(self, value: Any) -> None:
            if self.prompt_seen:
                self.story.pieces.append(time.perf_counter())
                self.story.tokens += 1
            self.prompt_seen = True

        def end(self) -> None:
            """Nothing is held back."""

    def one(number: int, limit: int, asked: float) -> Timeline:
        story = Timeline(asked=asked)
        torch.manual_seed(number)
        read = tokenizer(prompt_of(number), return_tensors="pt", add_special_tokens=False)
        with torch.inference_mode():
            network.generate(
                **read,
                do_sample=True,
                temperature=SAMPLING.temperature,
                top_p=SAMPLING.top_p,
                top_k=SAMPLING.top_k,
                repetition_penalty=SAMPLING.repetition_penalty,
                min_new_tokens=limit,
                max_new_tokens=limit,
                streamer=Clock(story),
                pad_token_id=tokenizer.eos_token_id,
            )
        return story

    one(99, 8, time.perf_counter())
    for count in streams:
        began, spent = time.perf_counter(), cpu_s()
        stories = [one(number, tokens, began) for number in range(count)]
        report(summary("generate", stories, time.perf_counter() - began, cpu_s() - spent, own_resident()))


def unpacked(model: str, data_dir: str) -> Path:
    """The same weights in the layout that transformers reads."""
    from models.language.transformer import unpacked as unpack
    from models.language.weights import resolve

    weights = resolve(model, Path(data_dir), fetch=False)
    return unpack(weights.path, Path(data_dir), weights.version)


# --- challengers


def openvino(model: str, _: str, tokens: int, streams: list[int], report: Callable[[Measured], None]) -> None:
    """OpenVINO GenAI's continuous batching. It reads the GGUF file itself."""
    from models.serving.quiet_runtimes import openvino_genai

    genai = openvino_genai()  # importing it as it comes would tell its makers
    scheduler = genai.SchedulerConfig()
    scheduler.cache_size = 1  # GiB
    scheduler.max_num_batched_tokens = 256
    scheduler.dynamic_split_fuse = True
    pipeline = genai.ContinuousBatchingPipeline(model, scheduler, "CPU")
    order = iter(range(1_000_000))

    def config(number: int, limit: int) -> Any:
        asked = genai.GenerationConfig()
        asked.max_new_tokens = asked.min_new_tokens = limit
        asked.ignore_eos = True
        asked.do_sample = True
        asked.temperature, asked.top_p, asked.top_k = SAMPLING.temperature, SAMPLING.top_p, SAMPLING.top_k
        asked.repetition_penalty = SAMPLING.repetition_penalty
        asked.rng_seed = number
        return asked

    def run(count: int, limit: int) -> list[Timeline]:
        stories, handles = [], []
        for number in range(count):
            stories.append(Timeline(asked=time.perf_counter()))
            handles.append(pipeline.add_request(next(order), prompt_of(number), config(number, limit)))
        while pipeline.has_non_finished_requests():
            pipeline.step()
            for story, handle in zip(stories, handles, strict=True):
                if handle.can_read():
                    for output in handle.read().values():
                        story.tokens += len(output.generated_ids)
                        story.pieces += [time.perf_counter()] * bool(output.generated_ids)
        return stories

    run(1, 8)
    for count in streams:
        began, spent = time.perf_counter(), cpu_s()
        stories = run(count, tokens)
        report(summary("OpenVINO GenAI", stories, time.perf_counter() - began, cpu_s() - spent, own_resident()))


def onnx(*arguments: Any) -> None:
    from benchmarks.onnx_path import onnxruntime

    onnxruntime(*arguments)


PATHS: dict[str, Callable[..., Any]] = {
    "inkwell-llama_cpp": lambda *a, **k: asyncio.run(
        inkwell(*a[:4], engine="llama_cpp", slots=k["slots"], report=a[4])
    ),
    "inkwell-openvino": lambda *a, **_: asyncio.run(inkwell(*a[:4], engine="openvino", slots=0, report=a[4])),
    "inkwell-transformers": lambda *a, **k: asyncio.run(inkwell(*a[:4], engine="transformers", slots=16, report=a[4])),
    "llama.cpp": lambda *a, **_: llama_cpp(*a),
    "generate": lambda *a, **_: generate(*a),
    "openvino": lambda *a, **_: openvino(*a),
    "onnxruntime": lambda *a, **_: onnx(*a),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", choices=[*PATHS, "prefill"])
    parser.add_argument("--model", required=True)
    parser.add_argument("--data-dir", required=True, help="an absolute path")
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--streams", type=int, nargs="+", default=[1])
    asked = parser.parse_args()
    if asked.path == "prefill":
        print(json.dumps(asyncio.run(prefill(asked.model, asked.data_dir))), flush=True)
        return
    PATHS[asked.path](
        asked.model,
        asked.data_dir,
        asked.tokens,
        asked.streams,
        lambda measured: print(json.dumps(asdict(measured)), flush=True),
        slots=asked.slots,
    )


if __name__ == "__main__":
    main()
