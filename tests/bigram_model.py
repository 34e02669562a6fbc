"""A real, tiny story model: character bigrams counted in a paragraph, sampled with the request's own seed and
temperature. Loads in no time and needs no library. `faulty` wraps it in faults that a story asks for by a word.
"""

import faulthandler
import hashlib
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path

from models.language.story_model import Emit
from models.serving.requests import StoryOutput, StoryRequest
from models.serving.wire import WorkerConfig

TEXT = (
    "The lamp in the lighthouse went out at nine, and the keeper climbed the stairs with a box of matches. Below her "
    "the sea was black and loud. A ship answered with its horn, twice, and turned away from the rocks. "
    "灯塔的灯在九点熄灭了，守塔人带着一盒火柴走上楼梯。大海在她脚下又黑又响。 "
)
START = " "


class BigramModel:
    """One character is one token. `pause_s` is the time that a token takes."""

    def __init__(self, text: str = TEXT, *, slots: int = 4, pause_s: float = 0.0) -> None:
        self._follows: dict[str, Counter[str]] = defaultdict(Counter)
        for left, right in zip(text, text[1:] + text[0], strict=True):
            self._follows[left][right] += 1
        self._pause_s = pause_s
        self.slots = slots
        self.version = f"bigram@{hashlib.sha256(text.encode()).hexdigest()[:8]}"
        self.closed = threading.Event()

    def generate(self, request: StoryRequest, emit: Emit) -> StoryOutput:
        if not request.story.strip():
            raise ValueError("the story is empty")
        sampling = request.sampling
        rng = random.Random(sampling.seed)
        state = request.story[-1] if request.story[-1] in self._follows else START
        text = ""
        finish = "length"
        for _ in range(sampling.max_new_tokens):
            if self._pause_s:
                time.sleep(self._pause_s)
            state = self._draw(state, sampling.temperature, rng)
            text += state
            if not emit(state):
                finish = "cancelled"
                break
            if any(stop in text for stop in sampling.stop):
                finish = "stop"
                break
        return StoryOutput(
            request_id=request.request_id,
            text=text,
            finish_reason=finish,
            model_version=self.version,
            seed=sampling.seed,
            prompt_tokens=len(request.story),
            new_tokens=len(text),
        )

    def _draw(self, state: str, temperature: float, rng: random.Random) -> str:
        characters, counts = zip(*sorted(self._follows[state].items()), strict=True)
        if temperature == 0:
            return characters[counts.index(max(counts))]
        return rng.choices(characters, [count ** (1 / temperature) for count in counts])[0]

    def close(self) -> None:
        self.closed.set()


class FaultyModel(BigramModel):
    """Breaks where the story says so: in prefill (before any text), or mid-stream (after a few characters)."""

    def generate(self, request: StoryRequest, emit: Emit) -> StoryOutput:
        story = request.story
        if "[prefill]" in story:
            self._break(story)
        said = 0

        def emit_and_break(text: str) -> bool:
            nonlocal said
            said += len(text)
            if "[prefill]" not in story and said == 5:
                self._break(story)
            return emit(text)

        return super().generate(request, emit_and_break)

    def _break(self, story: str) -> None:
        if "[once " in story:  # [once PATH]: only when the file is not there yet
            marker = Path(story.partition("[once ")[2].partition("]")[0])
            if marker.exists():
                return
            marker.touch()
        if "[until " in story:  # [until PATH]: goes on when the file is there
            gate = Path(story.partition("[until ")[2].partition("]")[0])
            while not gate.exists():
                time.sleep(0.005)
        if "[die]" in story:
            os.kill(os.getpid(), signal.SIGKILL)
        if "[segfault]" in story:
            faulthandler._sigsegv()
        if "[raise]" in story:
            raise RuntimeError("the model broke on purpose")
        if "[hang]" in story:
            threading.Event().wait()
        if "[stop]" in story:  # the whole process freezes, as under a held interpreter lock
            os.kill(os.getpid(), signal.SIGSTOP)
        if "[garbage]" in story:
            garble()
        if "[memory]" in story:
            hoard: list[bytearray] = []
            while True:
                hoard.append(bytearray(b"x") * 2**24)
        if "[surrogate]" in story:
            raise RuntimeError("\ud800")


def garble() -> None:
    """Write something that is no frame on the worker's socket."""
    os.write(int(sys.argv[1]), b"\xff" * 64)


def load(config: WorkerConfig) -> BigramModel:
    return BigramModel(slots=config.slots or 4)


def load_slow(config: WorkerConfig) -> BigramModel:
    return BigramModel(slots=config.slots or 4, pause_s=0.005)


def load_patient(config: WorkerConfig) -> BigramModel:
    """A story of 400 characters takes eight seconds."""
    return BigramModel(slots=config.slots or 4, pause_s=0.02)


def load_faulty(config: WorkerConfig) -> FaultyModel:
    return FaultyModel(slots=config.slots or 4, pause_s=0.002)


def load_nothing(config: WorkerConfig) -> BigramModel:
    raise FileNotFoundError(f"{config.model} is not there")


def load_and_die(config: WorkerConfig) -> BigramModel:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def load_never(config: WorkerConfig) -> BigramModel:
    threading.Event().wait()
    raise AssertionError("unreachable")


def load_while(config: WorkerConfig) -> FaultyModel:
    """Only as long as the file that `config.model` names is there."""
    if not Path(config.model).exists():
        raise FileNotFoundError(f"{config.model} is not there")
    return FaultyModel(slots=config.slots or 4)


def load_loud(config: WorkerConfig) -> BigramModel:
    os.write(1, b"to standard output\n")
    os.write(2, b"to standard error")
    os._exit(1)


def load_text(config: WorkerConfig) -> FaultyModel:
    """Counts the bigrams of the file that `config.model` names."""
    return FaultyModel(Path(config.model).read_text("utf-8"), slots=config.slots or 4, pause_s=0.002)


def load_littering(config: WorkerConfig) -> BigramModel:
    tempfile.mkstemp(prefix="litter")
    return BigramModel(slots=config.slots or 4)
