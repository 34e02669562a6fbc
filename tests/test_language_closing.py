"""A model is freed when its last call has ended, and not before; however early it is told to close."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from models.language.open_calls import OpenCalls
from tests.tiny_model import TinyModel

ROOT = Path(__file__).parents[1]
LOAD_AND_CLOSE = """
import sys
from pathlib import Path
from models.language.llama_cpp import LlamaCppModel

for _ in range(20):
    LlamaCppModel.load(Path(sys.argv[1]), threads=1, slots=2, context=256).close()
"""


def test_llama_cpp_closed_straight_after_loading_ends(tiny_model: TinyModel) -> None:
    """In a process of its own: where it hangs, it hangs in C++ with Python's lock held, and no timeout can fire."""
    command = [sys.executable, "-c", LOAD_AND_CLOSE, str(tiny_model.gguf)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)


def test_closing_waits_for_open_calls_and_lets_no_more_in() -> None:
    calls, inside, leave = OpenCalls(), threading.Event(), threading.Event()

    def call() -> None:
        with calls.entered():
            inside.set()
            assert leave.wait(60)

    caller = threading.Thread(target=call)
    caller.start()
    assert inside.wait(60)
    closed: list[bool] = []
    closer = threading.Thread(target=lambda: closed.append(calls.close()))
    closer.start()
    with pytest.raises(RuntimeError, match="closed"):
        while True:  # until the closer has come so far
            with calls.entered():
                time.sleep(0.001)
    closer.join(0.1)
    assert closed == []
    leave.set()
    caller.join(60)
    closer.join(60)
    assert closed == [True]
    assert calls.close() is False
