"""The story family of a training run, on the tests' small model: what its adapter begins with, what it learns, and that
a run that was killed at a step makes the same adapter."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from models.language.adapters import read_adapter
from models.serving.training import (
    Began,
    Event,
    Judged,
    Progressed,
    RunFailed,
    RunOptions,
    RunRequest,
    Skipped,
    TurnRecord,
)
from models.training.registry import Registry
from tests.made_up_style import made_up_records
from tests.tiny_adapter import build
from tests.tiny_model import TinyModel
from tests.training_process import KEY, left_by_runs, outcome, started

pytestmark = pytest.mark.timeout(400)  # processes that import torch and train, which takes long on a busy machine
STEPS = 8
STAND_STILL_AT_A_CHECKPOINT = """
import os, signal
from models.training import checkpoint
save = checkpoint.save
def save_and_stand_still(*what):
    save(*what)
    os.kill(os.getpid(), signal.SIGSTOP)
checkpoint.save = save_and_stand_still
"""
OPTIONS = RunOptions(steps=STEPS, rate=5e-3, batch=2, length=256, threads=1)


def request(data_dir: Path, model: Path | str, **changes: Any) -> RunRequest:
    asked = RunRequest(
        run="run-1", families=("story",), data_dir=str(data_dir), model=str(model), key=KEY, options=OPTIONS
    )
    return msgspec.structs.replace(asked, **changes)


def in_this_process(asked: RunRequest, records: list[TurnRecord], cancelled: Callable[[], bool]) -> list[Event]:
    from models.training.train import carry_out

    told: list[Event] = []
    carry_out(asked, records, told.append, cancelled)
    return told


@pytest.fixture(scope="module")
def adapter(tiny_model: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("adapter") / "tiny-adapter"
    build(tiny_model.directory, directory)  # torch is loaded here anyway
    return directory


@pytest.fixture(scope="module")
def whole(tiny_model: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Event], Path]:
    """What a run says that nobody disturbs, and its DATA_DIR."""
    data_dir = tmp_path_factory.mktemp("whole")
    return in_this_process(request(data_dir, tiny_model.directory), made_up_records(), lambda: False), data_dir


def test_a_run_trains_judges_and_registers_an_adapter_for_the_model(
    whole: tuple[list[Event], Path], tiny_model: TinyModel
) -> None:
    events, data_dir = whole
    assert [event.stage for event in events if isinstance(event, Began)] == [
        "snapshot", "train", "evaluate", "register",
    ]  # fmt: skip
    (judged,) = (event for event in events if isinstance(event, Judged))
    registry = Registry(data_dir / "versions")
    version = registry.version("story", judged.version)
    assert version.model == str(tiny_model.directory)
    assert set(version.files) == {"adapter_config.json", "adapter_model.safetensors"}
    assert read_adapter(registry.path("story", version.id)).rank == OPTIONS.rank
    assert judged.metrics["held_out_bits"] < judged.metrics["held_out_bits_before"]
    assert {"gain", "forgetting_en", "exposure"} <= {check.name for check in judged.checks}
    assert left_by_runs(data_dir) == [".lock"]


def test_a_run_that_was_killed_at_a_step_goes_on_and_makes_the_same_adapter(
    whole: tuple[list[Event], Path], tiny_model: TinyModel, tmp_path: Path
) -> None:
    asked = request(tmp_path, tiny_model.directory)
    with started(asked, made_up_records(), before=STAND_STILL_AT_A_CHECKPOINT) as running:
        running.until_it_stands_still()
        running.kill()
    events = in_this_process(msgspec.structs.replace(asked, resume=True), [], lambda: False)
    steps = [event.step for event in events if isinstance(event, Progressed)]
    assert 1 < steps[0] <= STEPS
    (killed,), (undisturbed,) = (Registry(folder / "versions").versions("story") for folder in (tmp_path, whole[1]))
    assert killed.files == undisturbed.files
    assert killed.metrics == undisturbed.metrics


def test_sigterm_at_a_step_cancels_and_leaves_nothing(tiny_model: TinyModel, tmp_path: Path) -> None:
    options = msgspec.structs.replace(OPTIONS, steps=100_000)
    with started(request(tmp_path, tiny_model.directory, options=options), made_up_records()) as running:
        running.until(lambda event: isinstance(event, Progressed))
        running.cancel()
        *_, last = running.rest()
        assert isinstance(last, RunFailed)
        assert last.cancelled
    assert left_by_runs(tmp_path) == [".lock"]
    assert Registry(tmp_path / "versions").versions("story") == []


@pytest.mark.parametrize(
    ("model", "adapter", "reason"),
    [
        ("", "default", "runs on another server"),
        ("somebody/large-model", "default", "isn't in"),
        ("/nowhere/at/all", "none", "can't be trained"),
    ],
)
def test_a_model_that_can_not_be_trained_is_skipped_in_a_sentence(
    model: str, adapter: str, reason: str, tmp_path: Path
) -> None:
    asked = request(tmp_path, model, adapter=adapter)
    events = in_this_process(asked, made_up_records(), lambda: False)
    (skipped,) = (event for event in events if isinstance(event, Skipped))
    assert reason in skipped.reason
    assert skipped.reason.endswith(".")
    assert left_by_runs(tmp_path) == [".lock"]


def test_an_adapter_of_another_model_is_no_beginning(tiny_model: TinyModel, adapter: Path, tmp_path: Path) -> None:
    config = (adapter / "adapter_config.json").read_text()
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "adapter_config.json").write_text(config)
    (tmp_path / "odd" / "adapter_model.safetensors").write_bytes(b"\0" * 16)
    asked = request(tmp_path, tiny_model.directory, adapter=str(tmp_path / "odd"))
    events = in_this_process(asked, made_up_records(), lambda: False)
    assert any(isinstance(event, Skipped) for event in events)


def test_training_begins_with_exactly_the_adapter_that_is_served_also_at_a_higher_rank(
    tiny_model: TinyModel, adapter: Path
) -> None:
    from models.training.story_family import ScoredModel

    text = "The lamp in the lighthouse went out at nine, and the keeper climbed the stairs."
    worn = read_adapter(adapter)
    same, higher = ScoredModel(tiny_model.directory, rank=worn.rank), ScoredModel(tiny_model.directory, rank=11)
    plain = same.bits(text)[0]
    same.wear(worn)
    higher.wear(worn)
    assert abs(same.bits(text)[0] - plain) > 0.1
    assert math.isclose(same.bits(text)[0], higher.bits(text)[0], rel_tol=1e-4)
    higher.wear(None)
    assert math.isclose(higher.bits(text)[0], plain, rel_tol=1e-4)


def test_bits_are_those_of_the_text_behind_the_prompt_that_is_served(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In bf16, as on a processor that has it, bits differ by some thousandths with how a text is cut up.
    monkeypatch.setattr("models.training.story_family.bf16_is_native", lambda device: False)
    import torch

    from models.language.continuation import ASK, SYSTEM, build_prompt
    from models.serving.requests import Sampling, StoryRequest
    from models.training.story_family import ScoredModel

    scored = ScoredModel(tiny_model.directory, rank=1)

    def directly(prompt: str, text: str) -> float:
        before, tokens = scored.encode(prompt), scored.encode(text)
        with torch.inference_mode():
            logits: Any = scored.network(input_ids=torch.tensor([before + tokens])).logits[0].log_softmax(-1)
        at = range(len(before) - 1, len(before) + len(tokens) - 1)
        return -sum(float(logits[place, token]) for place, token in zip(at, tokens, strict=True)) / math.log(2)

    text = "She put it in her pocket and lit the lamp. A ship answered with its horn."
    bits, tokens = scored.bits(text)
    assert tokens == len(scored.encode(text))
    assert math.isclose(bits, directly(scored.template.head(SYSTEM, ASK), text), rel_tol=1e-4)
    context = "Below her the sea was black and loud."
    request = StoryRequest(request_id="r", story=context, sampling=Sampling(max_new_tokens=1))
    prompt = build_prompt(request, lambda part: len(scored.encode(part)), 4_000, scored.template)
    after = scored.bits_after(context + " ", text)[0]
    assert math.isclose(after, directly(prompt, " " + text), rel_tol=1e-4)


def test_a_long_text_is_scored_whole(tiny_model: TinyModel) -> None:
    from models.training.story_family import WINDOW_TOKENS, ScoredModel

    scored = ScoredModel(tiny_model.directory, rank=1)
    text = " ".join(record.text for record in made_up_records()[:6])
    bits, tokens = scored.bits(text)
    assert tokens == len(scored.encode(text)) > WINDOW_TOKENS
    assert tokens < bits < 20 * tokens


def test_a_model_that_writes_no_chinese_is_taught_none(tmp_path: Path) -> None:
    from models.training.lesson_source import Source
    from models.training.snapshot import Snapshot
    from models.training.snapshot_writing import write_snapshot

    chinese = "灯塔的灯在九点熄灭了，守塔人带着一盒火柴走上楼梯，大海在她脚下又黑又响，她数着台阶往上走。"
    extra = [
        TurnRecord(
            id=f"zh{n}",
            story=f"zh{n}",
            parent=None,
            author=f"zh{n}",
            text=f"{n}、{chinese}{n * 7}",
            language="zh",
            at=0.0,
        )
        for n in range(4)
    ]
    write_snapshot([*made_up_records(), *extra], tmp_path / "snapshot", key=KEY)
    snapshot = Snapshot.open(tmp_path / "snapshot", KEY)
    english = Source(snapshot, OPTIONS, languages=("en",))
    both = Source(snapshot, OPTIONS, languages=("en", "zh"))
    assert {passage.language for passage in english.lessons(context=100)} == {"en"}
    assert "zh" in {passage.language for passage in [*both.lessons(context=100), *both.held_out]}
    assert set(english.base()) == {"en"}
    assert english.held_out, "though all that the snapshot holds out is Chinese"
    assert not {each.id for each in english.held_out} & {each.id for each in english.lessons(context=0)}


def test_the_default_model_is_one_that_writes_no_chinese() -> None:
    from models.language.known_models import DEFAULT_SPEC, KNOWN_MODELS
    from models.language.weights import LocalModel
    from models.training.run_story import Base

    def languages(sha256: str) -> tuple[str, ...]:
        weights = LocalModel(
            name="m", spec="m", path=Path(), format="gguf", sha256=sha256, size_bytes=1, licence="", context=1
        )
        return Base(weights=weights, directory=Path(), adapter=None).languages

    assert languages(KNOWN_MODELS[DEFAULT_SPEC].sha256) == ("en",)
    assert languages("of a model that nobody here knows") == ("en", "zh")


def test_a_full_disk_at_a_checkpoint_fails_the_run_and_leaves_nothing(tiny_model: TinyModel, tmp_path: Path) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))"
    *_, last = outcome(request(tmp_path, tiny_model.directory), made_up_records(), before=limit)
    assert isinstance(last, RunFailed)
    assert "is full" in last.reason
    assert left_by_runs(tmp_path) == [".lock"]
