"""Texts for a blind vote on their way out of a run: told once, in no file, and none of a champion that was marked."""

from pathlib import Path

import msgspec

from models.serving.training import Began, Check, Event, Family, Judged, Paired, RunRequest, TextPair
from models.training.registry import Registry
from models.training.snapshot import Snapshot
from models.training.train import Candidate, Judgement, RunContext, carry_out
from tests.made_up_style import made_up_records

SECRET = "an unmistakable continuation"
PAIRS = (TextPair(prompt="The keeper", candidate=SECRET, other="slept."),)
SOMEBODY = "somebody's key"


class Shown:
    """Learns nothing and is judged at once."""

    family: Family = "gpt"

    def train(self, snapshot: Snapshot, context: RunContext) -> Candidate:
        folder = context.folder / "candidate"
        folder.mkdir()
        (folder / "model.json").write_text("{}")
        return Candidate(folder=folder, recipe={}, base="")

    def judge(self, candidate: Candidate, champion: Path | None, snapshot: Snapshot, context: RunContext) -> Judgement:
        return Judgement(checks=(Check(name="gain", passed=True, value=1.0, limit=2.0),), metrics={}, pairs=PAIRS)


def events_of(data_dir: Path) -> list[Event]:
    """Of a run; when each is told, no file holds a pair."""
    told: list[Event] = []

    def tell(event: Event) -> None:
        told.append(event)
        if isinstance(event, Began) and event.stage == "register":
            (note,) = data_dir.rglob("judged.json")
            assert msgspec.json.decode(note.read_bytes(), type=Judgement).accepted
        for file in data_dir.rglob("*"):
            assert not file.is_file() or SECRET.encode() not in file.read_bytes()

    request = RunRequest(run="run-1", families=("gpt",), data_dir=str(data_dir), model="")
    carry_out(request, made_up_records(), tell, lambda: False, trainer=lambda _: Shown())
    return told


def champion(data_dir: Path) -> tuple[Registry, str]:
    """One that learned from somebody."""
    registry, staged = Registry(data_dir / "versions"), data_dir / "staged"
    staged.mkdir()
    (staged / "model.json").write_text("{}")
    version = registry.register("gpt", staged, contributors=[SOMEBODY], accepted=True)
    registry.promote("gpt", version.id, by="test")
    return registry, version.id


def test_pairs_are_told_before_the_verdict_with_both_versions_and_stand_in_no_file(tmp_path: Path) -> None:
    _, before = champion(tmp_path)
    *_, paired, judged = events_of(tmp_path)
    assert isinstance(judged, Judged)
    assert paired == Paired(family="gpt", version=judged.version, against=before, pairs=PAIRS)


def test_what_is_shipped_has_no_name(tmp_path: Path) -> None:
    assert [event.against for event in events_of(tmp_path) if isinstance(event, Paired)] == [""]


def test_what_a_champion_wrote_that_knows_erased_words_is_told_to_nobody(tmp_path: Path) -> None:
    registry, _ = champion(tmp_path)
    registry.mark_erased(SOMEBODY, 1.0)
    events = events_of(tmp_path)
    assert isinstance(events[-1], Judged)
    assert not any(isinstance(event, Paired) for event in events)
