"""A small real process that speaks as a training run does, and misbehaves where it is told to. Knows no model.

What it was sent stands in DATA_DIR/sent-RUN.jsonl when it ends its snapshot. Kinds: `good`; `worse` does not pass the
gate; `pairs` has texts for a blind vote; `wait` trains until the file DATA_DIR/go exists; `deaf` does so and hears no
SIGTERM; `exit` and `kill` end in training, `fail` says why; `flood` talks without end; `babble` and `endless` say what
is no event; `mute` says nothing; `hungry` reads nothing.
"""

import os
import signal
import sys
import time
from pathlib import Path

import msgspec

from models.serving.training import (
    Began,
    Check,
    Counted,
    Event,
    Judged,
    Paired,
    Progressed,
    RunEnded,
    RunFailed,
    RunRequest,
    Skipped,
    TextPair,
)
from models.training.registry import Registry

STEPS = 5
CHECKS = (
    Check(name="gain", passed=True, value=1.5, limit=0.01, before=1.72),
    Check(name="forgetting", passed=True, value=0.01, limit=0.02),
)
PAIRED = {"story": 2, "gpt": 1}
PAIRS = tuple(
    TextPair(prompt=f"The keeper {n} of @everyone", candidate=f"sang **{n}** alone.", other=f"slept {n} hours.")
    for n in (1, 2)
)


def program(kind: str) -> str:
    """For `python -c`, as `bot.training_process.PROGRAM`."""
    return f"import sys; sys.path.insert(0, sys.argv[1]); from tests.fake_training import main; main({kind!r})"


def tell(event: Event) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(event) + b"\n")
    sys.stdout.buffer.flush()


def main(kind: str) -> None:
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, signal.SIG_IGN if kind == "deaf" else lambda number, _: stopped.append(number))
    request = msgspec.json.decode(sys.stdin.buffer.readline(), type=RunRequest)
    data_dir = Path(request.data_dir)
    folder = data_dir / "training" / request.run
    if kind in ("mute", "hungry"):
        time.sleep(300)
    tell(Began(stage="snapshot"))
    if not request.resume:
        lines = sys.stdin.buffer.read().splitlines()
        folder.mkdir(mode=0o700, parents=True)
        (folder / "snapshot").write_bytes(request.key.encode())
        (data_dir / f"sent-{request.run}.jsonl").write_bytes(b"\n".join(lines))
    assert (folder / "snapshot").read_bytes() == request.key.encode()
    authors = len({msgspec.json.decode(line)["author"] for line in sent(data_dir, request.run)} - {""})
    tell(
        Counted(
            kept=len(sent(data_dir, request.run)), dropped={"short": 2}, authors=authors, characters=4_000, held_out=3,
            digest="d" * 64,
        )
    )  # fmt: skip
    for family in request.families:
        if family == "portraits":
            tell(Skipped(family=family, reason="Nobody gave a picture."))
            continue
        tell(Began(stage="train", family=family))
        misbehave(kind)
        step = 0
        while step < STEPS or kind in ("wait", "deaf", "flood"):
            step += 1
            if stopped and kind != "deaf":
                tell(RunFailed(reason="It was cancelled.", cancelled=True))
                sys.exit(1)
            if kind in ("wait", "deaf"):
                if (data_dir / "go").exists():
                    break
                time.sleep(0.02)
            tell(
                Progressed(
                    family=family, step=step, steps=max(STEPS, step), loss=3.0 / step, tokens_per_s=120.0, left_s=9.0
                )
            )
        tell(Began(stage="evaluate", family=family))
        accepted = kind != "worse"
        checks = CHECKS if accepted else (msgspec.structs.replace(CHECKS[0], passed=False, value=1.8), CHECKS[1])
        version = registered(data_dir, request.run, family, checks, accepted)
        if kind == "pairs" and family in PAIRED:
            tell(Paired(family=family, version=version, against="", pairs=PAIRS[: PAIRED[family]]))
        tell(
            Judged(
                family=family, version=version, accepted=accepted,
                checks=checks, metrics={"held_out_bits": checks[0].value, "held_out_bits_before": 1.72},
            )
        )  # fmt: skip
    tell(RunEnded())


def registered(data_dir: Path, run: str, family: str, checks: tuple[Check, ...], accepted: bool) -> str:
    """The id of a version that is a few letters and no model."""
    staged = data_dir / "training" / run / family
    staged.mkdir(mode=0o700)
    (staged / "model.json").write_text("{}")
    registry = Registry(data_dir / "versions")
    authors = {msgspec.json.decode(line)["author"] for line in sent(data_dir, run)} - {""}
    return registry.register(family, staged, contributors=authors, run=run, checks=checks, accepted=accepted).id


def sent(data_dir: Path, run: str) -> list[bytes]:
    """The records that a run was sent, a line each."""
    return (data_dir / f"sent-{run}.jsonl").read_bytes().splitlines()


def misbehave(kind: str) -> None:
    match kind:
        case "exit":
            sys.exit(3)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "fail":
            tell(RunFailed(reason="The disk is full."))
            sys.exit(1)
        case "babble":
            sys.stdout.buffer.write(b'{"type": "surprise"}\n')
            sys.stdout.buffer.flush()
            time.sleep(300)
        case "endless":
            sys.stdout.buffer.write(b"x" * (3 << 20))
            sys.stdout.buffer.flush()
            time.sleep(300)
