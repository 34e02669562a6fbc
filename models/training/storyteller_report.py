"""What an adapter gained and what it cost: bits per byte with and without it, on unseen tales and on what is no tale.
Knows no training.

    python -m models.training.storyteller_report --model DIRECTORY --adapter DIRECTORY --corpus DIRECTORY --plain FILE

Tales are windows of the test titles, whole files that no training run read, behind the prompt that is served; plain
files are read from their beginning, without a prompt: what the adapter makes worse there it has forgotten.
"""

import argparse
import json
import math
import random
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from models.language.chat_template import recognise
from models.training.story_windows import Tales, Window
from models.training.storyteller import losses

LENGTH = 320  # tokens a window
SEED = 2_025


@dataclass(frozen=True, kw_only=True)
class Gain:
    """Bits per byte of the text in `what` without and with the adapter. `error` is the standard error of their
    difference over the windows."""

    what: str
    bytes: int
    without: float
    with_it: float
    error: float


def bits_per_byte(network: Any, windows: list[Window], decode: Any, *, bf16: bool) -> list[tuple[float, int]]:
    """For each window the bits of what stands behind its prompt, and the bytes."""
    found = []
    network.eval()
    with torch.inference_mode():
        for window in windows:
            nats = float(losses(network, [window], bf16=bf16).sum())
            found.append((nats / math.log(2), len(decode(window.tokens[window.prompt :]).encode())))
    return found


def plain_windows(text: str, encode: Any, count: int) -> list[Window]:
    """Windows of `LENGTH` tokens without a prompt, drawn evenly from the text; the first token has no loss."""
    tokens = encode(text)
    starts = range(0, len(tokens) - LENGTH + 1, LENGTH)
    chosen = sorted(random.Random(SEED).sample(list(starts), min(count, len(starts))))
    return [Window(tokens=tokens[at : at + LENGTH], prompt=1, text="") for at in chosen]


def gain(network: PeftModel, what: str, windows: list[Window], decode: Any, *, bf16: bool = False) -> Gain:
    with network.disable_adapter():
        before = bits_per_byte(network, windows, decode, bf16=bf16)
    after = bits_per_byte(network, windows, decode, bf16=bf16)
    size = sum(length for _, length in before)
    deltas = [(b - a) / length for (a, length), (b, _) in zip(before, after, strict=True)]
    mean = sum(deltas) / len(deltas)
    spread = math.sqrt(sum((each - mean) ** 2 for each in deltas) / max(1, len(deltas) - 1) / len(deltas))
    return Gain(
        what=what,
        bytes=size,
        without=round(sum(bits for bits, _ in before) / size, 4),
        with_it=round(sum(bits for bits, _ in after) / size, 4),
        error=round(spread, 4),
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m models.training.storyteller_report", description="Measure a gain.")
    for name in ("model", "adapter", "corpus"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--plain", type=Path, action="append", default=[], help="a text that is no tale")
    parser.add_argument("--windows", type=int, default=16, help="of every title and plain file")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--fp32", action="store_true", help="for a processor without bf16 arithmetic")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(asked.threads)
    tokenizer: Any = AutoTokenizer.from_pretrained(asked.model, local_files_only=True)
    template = recognise(tokenizer.chat_template, asked.model.name).with_markers(tuple(tokenizer.all_special_tokens))
    precision = torch.float32 if asked.fp32 else torch.bfloat16
    base: Any = AutoModelForCausalLM.from_pretrained(asked.model, dtype=precision, local_files_only=True)
    network = PeftModel.from_pretrained(base, str(asked.adapter))

    def encode(text: str) -> list[int]:
        tokens: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return tokens

    for title in sorted((asked.corpus / "test" / "en").glob("*.txt")):
        tales = Tales.one(title)
        windows = [
            tales.window(f"{SEED}/{number}", LENGTH, encode, template, second_person=0.0)
            for number in range(asked.windows)
        ]
        _print(gain(network, title.stem, windows, tokenizer.decode, bf16=not asked.fp32))
    for file in asked.plain:
        windows = plain_windows(file.read_text("utf-8"), encode, asked.windows)
        _print(gain(network, file.name, windows, tokenizer.decode, bf16=not asked.fp32))
    return 0


def _print(found: Gain) -> None:
    sys.stdout.write(json.dumps(asdict(found)) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
