"""How fast portraits are drawn and learned, against torch on the same weights in the same run. Knows no Discord.

    python -m benchmarks.gan                                       # drawing; with `inkwell[torch]` also the baseline
    python -m benchmarks.gan --data DIRECTORY                      # and training, over some steps

All numbers are of CPU-seconds of one thread, so that a busy machine changes them little. Set OMP_NUM_THREADS=1.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from models.gan.portrait_weights import read
from models.gan.portraits import PortraitModel
from models.serving.short_requests import MorphRequest, PortraitRequest
from models.weights import PORTRAITS_FOLDER

BATCHES = (1, 16, 64)


def cpu_s(work: Callable[[], object], *, least_s: float = 0.7) -> float:
    """CPU-seconds of one call, the median over calls that take `least_s` together."""
    work()
    found: list[float] = []
    while sum(found) < least_s:
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return float(np.median(found))


def drawing(model: PortraitModel, folder: Path) -> dict[str, float]:
    """Pictures per CPU-second, raw (before PNG), for each batch; and whole answers in CPU-milliseconds."""
    starts = {size: [model.start(model.point(f"bench {n}", {})) for n in range(size)] for size in BATCHES}
    result: dict[str, float] = {}
    for size in BATCHES:
        result[f"numpy, batch {size}, pictures/s"] = size / cpu_s(lambda s=size: [model.paint(x) for x in starts[s]])
    try:
        import torch

        from models.gan.networks import Generator
        from models.training.gan_export import exported
        from models.training.gan_run import as_bytes
    except ImportError:
        print("no torch: the baseline is left out")
    else:
        torch.set_num_threads(1)
        shape, weights, _ = exported(folder)
        generator = Generator(shape).eval()
        generator.load_state_dict(weights)
        for size in BATCHES:
            batch = torch.from_numpy(np.stack(starts[size]))

            def paint(batch: torch.Tensor = batch) -> None:
                with torch.inference_mode():
                    as_bytes(generator.paint(batch))

            result[f"torch eager fp32, batch {size}, pictures/s"] = size / cpu_s(paint)
            result[f"numpy to torch, batch {size}"] = (
                result[f"numpy, batch {size}, pictures/s"] / result[f"torch eager fp32, batch {size}, pictures/s"]
            )
    for count in (1, 4, 9):
        request = PortraitRequest(seeds=tuple(f"bench {number}" for number in range(count)))
        result[f"answer with {count}, ms"] = 1000 * cpu_s(lambda r=request: model.answer([r]))
    morph = MorphRequest(start="a", end="b")
    result["morph of 24 frames, ms"] = 1000 * cpu_s(lambda: model.answer([morph]))
    return result


def training(data: Path, steps: int) -> dict[str, float]:
    """Pictures per CPU-second, fp32 and bf16, penalties included."""
    import torch

    from models.gan.networks import Shape
    from models.training.gan_classifier import as_tensors
    from models.training.gan_data import read as read_data
    from models.training.gan_run import condition_labels, condition_shape
    from models.training.gan_train import Recipe, Run

    torch.set_num_threads(1)
    portraits = read_data(data)
    pictures, _ = as_tensors(portraits)
    result = {}
    for bf16 in (False, True):
        for batch in (16, 64):
            recipe = Recipe(batch=batch, bf16=bf16, steps=steps + 8)
            with tempfile.TemporaryDirectory() as folder:
                run = Run(pictures, condition_labels(portraits), condition_shape(Shape()), recipe, Path(folder))
                began = 0.0
                for step in run.steps():
                    if step.step == 8:
                        began = time.process_time()
                result[f"training, {'bf16' if bf16 else 'fp32'}, batch {batch}, pictures per CPU-second"] = (
                    steps * batch / (time.process_time() - began)
                )
    return result


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gan")
    parser.add_argument("--model", type=Path, default=PORTRAITS_FOLDER)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--steps", type=int, default=48)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    result = drawing(PortraitModel(read(asked.model)), asked.model)
    if asked.data is not None:
        result |= training(asked.data, asked.steps)
    for name, value in result.items():
        print(f"{name:48} {value:10.2f}")
    if asked.json is not None:
        asked.json.write_text(json.dumps(result, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
