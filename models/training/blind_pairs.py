"""Continues the same openings with and without an adapter, for a reader who doesn't know which is which. Knows no
metric: it shuffles, and a key that is opened after the reading says what was what.

    python -m models.training.blind_pairs OPENINGS.json --adapter DIRECTORY --data-dir DIRECTORY --out PAIRS.json

PAIRS.json holds {id, story, seed, a, b} for every opening, PAIRS.key.json which of a and b had the adapter.
"""

import argparse
import json
import random
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from msgspec.structs import replace

from models.language.known_models import DEFAULT_SPEC
from models.language.story_model import StoryModel
from models.serving.model_loading import load_story_model
from models.serving.requests import Sampling, StoryRequest
from models.serving.wire import WorkerConfig


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two continuations of `story`, both drawn with `seed`."""

    id: str
    story: str
    seed: int
    a: str
    b: str


def continuations(model: StoryModel, stories: dict[str, str], seeds: dict[str, int], sampling: Sampling) -> list[str]:
    """One continuation of every story, each with its own seed."""
    texts = []
    for name, story in stories.items():
        asked = StoryRequest(request_id=name, story=story, sampling=replace(sampling, seed=seeds[name]))
        texts.append(model.generate(asked, lambda _: True).text)
    return texts


def shuffled(
    stories: dict[str, str], seeds: dict[str, int], without: list[str], with_it: list[str], order: int
) -> tuple[list[Pair], dict[str, str]]:
    """The pairs in the order of `stories`, and for each id "a" or "b": where the adapter is. `order` seeds the coin."""
    coin, pairs, key = random.Random(order), [], {}
    for (name, story), plain, adapted in zip(stories.items(), without, with_it, strict=True):
        key[name] = coin.choice("ab")
        a, b = (adapted, plain) if key[name] == "a" else (plain, adapted)
        pairs.append(Pair(id=name, story=story, seed=seeds[name], a=a, b=b))
    return pairs, key


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m models.training.blind_pairs", description="Make blind pairs.")
    parser.add_argument("openings", type=Path, help="a JSON list of {id, story}")
    parser.add_argument("--adapter", default="default")
    parser.add_argument("--model", default=DEFAULT_SPEC)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--first-seed", type=int, default=1, help="of the first opening; the next has the next")
    parser.add_argument("--order", type=int, default=0, help="seed of the coin that shuffles")
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args(arguments)
    stories = {opening["id"]: opening["story"] for opening in json.loads(asked.openings.read_text("utf-8"))}
    seeds = {name: asked.first_seed + number for number, name in enumerate(stories)}
    told = []
    for adapter in ("none", asked.adapter):
        config = WorkerConfig(
            model=asked.model, data_dir=str(asked.data_dir.absolute()), adapter=adapter, threads=asked.threads, slots=1
        )
        model = load_story_model(config)
        try:
            told.append(continuations(model, stories, seeds, Sampling()))
        finally:
            model.close()
    without, with_it = told
    pairs, key = shuffled(stories, seeds, without, with_it, order=asked.order)
    asked.out.write_text(json.dumps([asdict(pair) for pair in pairs], indent=1, ensure_ascii=False), "utf-8")
    asked.out.with_suffix(".key.json").write_text(json.dumps(key, indent=1), "utf-8")
    sys.stdout.write(f"Pairs in {asked.out}: {len(pairs)}; the key lies beside it\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
