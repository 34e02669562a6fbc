"""Real, tiny small models: moods by two words, portraits as one-colour PNGs. `[die]`, `[hang]` and the like in a text
ask for faults, as in bigram_model.
"""

import io
import os
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from models.serving.short_model import ShortModelMissingError
from models.serving.short_requests import (
    AnyShortOutput,
    AnyShortRequest,
    Mood,
    MoodRequest,
    Morph,
    MorphRequest,
    Portrait,
    PortraitRequest,
    Portraits,
    Verse,
    VerseRequest,
)
from models.serving.short_wire import ShortConfig

FAMILIES = {
    "mood": "tests.short_models:moods",
    "portrait": "tests.short_models:portraits",
    "morph": "tests.short_models:portraits",
    "verse": "tests.short_models:verses",
}
CONFIG = ShortConfig(data_dir="/nowhere", families=FAMILIES, niceness=0)
BAD, GOOD = "sad", "glad"


class Moods:
    """Counts "sad" and "glad". `notes` say of each answer how many were in its batch and where it stood."""

    version = "moods@00000001"

    def answer(self, requests: Sequence[AnyShortRequest]) -> list[AnyShortOutput]:
        answers: list[AnyShortOutput] = []
        for place, request in enumerate(requests):
            assert isinstance(request, MoodRequest)
            _suffer(request.text)
            if request.method == "encoder":
                raise ShortModelMissingError("the encoder's weights aren't here: run `inkwell models fetch`")
            good, bad = request.text.count(GOOD) + 1, request.text.count(BAD) + 1
            likely = (bad / (good + bad + 1), 1 / (good + bad + 1), good / (good + bad + 1))
            answers.append(
                Mood(
                    label="positive" if good > bad else "negative" if bad > good else "neutral",
                    probabilities=likely,
                    sure=good != bad,
                    method="default",
                    model_version=self.version,
                    language="en",
                    notes=(f"{place} of {len(requests)}", request.text),
                )
            )
        return answers


class Portraits1:
    """The seed's bytes are the colour. A seed "large" gives as much PNG as `large` says."""

    def __init__(self, version: str = "portraits@00000002") -> None:
        self.version = version

    def answer(self, requests: Sequence[AnyShortRequest]) -> list[AnyShortOutput]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: AnyShortRequest) -> AnyShortOutput:
        if isinstance(request, MorphRequest):
            size = int(request.end) if request.start == "large" else 10
            return Morph(gif=b"G" * size, child=picture("x"), attributes={}, model_version=self.version)
        assert isinstance(request, PortraitRequest)
        for seed in request.seeds:
            _suffer(seed)
        portraits = tuple(Portrait(seed=seed, png=picture(seed), attributes={}) for seed in request.seeds)
        return Portraits(portraits=portraits, grid=portraits[0].png, model_version=self.version)


class Verses:
    """Each line is the seed."""

    version = "verse@00000003"

    def answer(self, requests: Sequence[AnyShortRequest]) -> list[AnyShortOutput]:
        answers: list[AnyShortOutput] = []
        for request in requests:
            assert isinstance(request, VerseRequest)
            _suffer(request.seed)
            answers.append(
                Verse(
                    lines=(request.seed,) * request.lines,
                    generator="likelihood",
                    temperature=1.0,
                    model_version=self.version,
                )
            )
        return answers


def picture(seed: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), tuple(f"{seed:3}".encode()[:3])).save(file, "PNG")
    return file.getvalue()


def moods(data_dir: Path) -> Moods:
    assert data_dir == Path("/nowhere")
    return Moods()


def portraits(data_dir: Path, options: dict[str, str]) -> Portraits1:
    if options.get("portraits") == "broken":
        raise RuntimeError("the weights are no weights")
    if options.get("portraits") == "missing":
        raise ShortModelMissingError("the generator's weights aren't here: run `inkwell models fetch`")
    if options.get("portraits") == "deadly":
        os.abort()
    _suffer(options.get("portraits", ""))
    return Portraits1("portraits@other") if options.get("portraits") == "other" else Portraits1()


def verses(data_dir: Path) -> Verses:
    return Verses()


def _suffer(text: str) -> None:
    """The fault that `text` asks for. `[once FILE]` lets it come only as long as FILE doesn't exist; `[until FILE]`
    waits for FILE."""
    if "[once " in text:
        seen = Path(text.split("[once ")[1].split("]")[0])
        if seen.exists():
            return
        seen.touch()
    if "[until " in text:
        gate = Path(text.split("[until ")[1].split("]")[0])
        while not gate.exists():
            time.sleep(0.005)
    if "[hang]" in text:
        threading.Event().wait()
    if "[die]" in text:
        os.kill(os.getpid(), signal.SIGKILL)
    if "[refuse]" in text:
        raise ValueError("it holds no words")
    if "[break]" in text:
        raise RuntimeError("a bug")
    if "[memory]" in text:
        hog = bytearray(8 * 2**30)
        hog[::4096] = b"x" * len(hog[::4096])
