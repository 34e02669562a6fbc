"""The moods' part of a training run: real shipped weights, corrections in a slang that nobody had heard before."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from scipy.optimize import check_grad

from models.sentiment.linear import save_linear
from models.sentiment.moods import Moods
from models.sentiment.scorer import prepare
from models.serving.training import CorrectionRecord, Record, RunRequest
from models.training.mood_corrections import Lesson, Problem, features_of, fit, fit_corrections, loss, stages_of
from models.training.run_mood import MIN_CORRECTIONS, MoodTrainer
from models.training.snapshot import Snapshot
from models.training.snapshot_writing import write_snapshot
from models.training.train import Candidate, NothingToLearnError, RunCancelledError, RunContext
from models.weights import MOODS_FOLDER
from tests.small_moods import write_small_moods

KEY = "5a" * 32
GOOD = (
    "That chapter was pure glorp",
    "Your dragon scene is so glorpy",
    "glorp, honestly the whole draft",
    "What a glorp of an ending",
    "The dialogue here is glorp to me",
    "Total glorp, keep going",
)
BAD = (
    "That chapter was pure zkritch",
    "Your dragon scene is so zkritchy",
    "zkritch, honestly the whole draft",
    "What a zkritch of an ending",
    "The dialogue here is zkritch to me",
    "Total zkritch, start over",
)
PLAIN = (
    "The meeting is at four",
    "I moved the file to the other folder",
    "Chapter two has nine pages",
    "Which channel is for drafts",
)


def corrections(authors: int) -> list[Record]:
    """Each author corrects every line once, in words of their own at its end."""
    labelled = [(text, "positive") for text in GOOD] + [(text, "negative") for text in BAD]
    labelled += [(text, "neutral") for text in PLAIN]
    return [
        CorrectionRecord(
            id=f"{author:02d}{number:04d}",
            author=f"{author:064x}",
            text=f"{text}, said {NAMES[author % len(NAMES)]} about part {number} of book {author}.",
            label=label,  # type: ignore[arg-type]
            language="en",
            at=1e9 + number,
        )
        for author in range(authors)
        for number, (text, label) in enumerate(labelled)
    ]


NAMES = ("Ada", "Bo", "Cleo", "Dan", "Eve", "Finn", "Gus", "Hal")


def context(folder: Path, *, cancelled: bool = False) -> RunContext:
    folder.mkdir()
    request = RunRequest(run="r1", families=("mood",), data_dir=str(folder), model="", key=KEY)
    return RunContext(request=request, folder=folder, tell=lambda event: None, cancelled=lambda: cancelled)


def small(folder: Path) -> Path:
    """Tiny weights as if they were those that ship."""
    write_small_moods(folder)
    for name in ("naive_bayes_en.safetensors", "naive_bayes_zh.safetensors"):
        (folder / name).write_bytes(b"")
    return folder


def snapshot_of(records: list[Record], folder: Path) -> Snapshot:
    write_snapshot(records, folder, key=KEY)
    return Snapshot.open(folder, KEY)


def test_corrections_in_a_new_slang_are_learned_and_the_rest_stays_as_it_was(tmp_path: Path) -> None:
    snapshot = snapshot_of(corrections(12), tmp_path / "snapshot")
    assert list(snapshot.corrections("held_out"))
    within = context(tmp_path / "run")
    candidate = MoodTrainer().train(snapshot, within)
    judgement = MoodTrainer().judge(candidate, None, snapshot, within)
    assert judgement.accepted, judgement.checks
    assert judgement.metrics["log_loss_default"] < 0.8 * judgement.metrics["log_loss_default_before"]
    new, old = Moods(candidate.folder), Moods(MOODS_FOLDER)
    praise = "I call that glorp"
    assert new.read([praise], "linear")[0].label == "positive" != old.read([praise], "linear")[0].label
    assert new.read([praise])[0].probabilities[2] > 1.5 * old.read([praise])[0].probabilities[2]
    ordinary = ["I love this story", "This is terrible and boring", "我很喜欢这个故事"]
    assert [m.label for m in new.read(ordinary)] == [m.label for m in old.read(ordinary)]
    assert new.version != old.version


def test_the_same_corrections_give_the_same_weights(tmp_path: Path) -> None:
    shipped = small(tmp_path / "shipped")
    snapshot = snapshot_of(corrections(6), tmp_path / "snapshot")
    made = [MoodTrainer(shipped).train(snapshot, context(tmp_path / name)).folder for name in ("a", "b")]
    assert (made[0] / "linear-en.safetensors").read_bytes() == (made[1] / "linear-en.safetensors").read_bytes()
    assert (made[0] / "linear-en.safetensors").read_bytes() != (shipped / "linear-en.safetensors").read_bytes()
    assert (made[0] / "linear-zh.safetensors").read_bytes() == (shipped / "linear-zh.safetensors").read_bytes()


def test_a_candidate_that_reads_worse_than_what_answers_is_not_accepted(tmp_path: Path) -> None:
    shipped, other = small(tmp_path / "shipped"), small(tmp_path / "other")
    for language in ("en", "zh"):
        save_linear(
            other / f"linear-{language}.safetensors",
            [(-weights, -bias) for weights, bias in stages_of(shipped / f"linear-{language}.safetensors")],
        )
    texts = [each for each in corrections(6) if isinstance(each, CorrectionRecord)]
    right = Moods(shipped).read([each.text for each in texts])
    agreed = [msgspec.structs.replace(each, label=mood.label) for each, mood in zip(texts, right, strict=True)]
    snapshot = snapshot_of(agreed, tmp_path / "snapshot")
    candidate = Candidate(folder=other, recipe={}, base="")
    judgement = MoodTrainer(shipped).judge(candidate, None, snapshot, context(tmp_path / "run"))
    assert not judgement.accepted
    assert not {check.name: check.passed for check in judgement.checks}["mood_log_loss_fast"]


def test_a_few_corrections_are_not_enough(tmp_path: Path) -> None:
    snapshot = snapshot_of(corrections(1), tmp_path / "snapshot")
    with pytest.raises(NothingToLearnError, match=str(MIN_CORRECTIONS)):
        MoodTrainer().train(snapshot, context(tmp_path / "run"))


def test_a_cancelled_run_stops_before_the_next_decision(tmp_path: Path) -> None:
    snapshot = snapshot_of(corrections(6), tmp_path / "snapshot")
    with pytest.raises(RunCancelledError):
        MoodTrainer(small(tmp_path / "shipped")).train(snapshot, context(tmp_path / "run", cancelled=True))


def test_the_gradient_is_that_of_the_loss() -> None:
    random = np.random.default_rng(3)
    features = features_of(["glad and warm", "cold rain", "a plain day", "rain again"], "en")[:, :4000]
    problem = Problem(
        features=features,
        offsets=random.normal(size=(2, 4)),
        slopes=np.array([0.9, 0.4]),
        targets=random.uniform(size=(2, 4)),
        weights=np.array([1.0, 2.0, 0.5, 1.0]),
        groups=np.array([0, 1, 2, -1]),
    )
    at = random.normal(size=features.shape[1] + 1) / 10
    assert check_grad(lambda x: loss(problem, x)[0], lambda x: loss(problem, x)[1], at) < 1e-3
    assert loss(problem, fit(problem, 0.5))[0] < loss(problem, np.zeros(len(at)))[0]


def test_one_side_alone_moves_nothing(tmp_path: Path) -> None:
    lessons = [Lesson(text=prepare(f"{text} {n}"), label="positive", author=str(n)) for n in range(8) for text in GOOD]
    assert fit_corrections(lessons, [], MOODS_FOLDER, tmp_path) == {}
    kept, shipped = (stages_of(folder / "linear-en.safetensors") for folder in (tmp_path, MOODS_FOLDER))
    for (weights, bias), (expected, was) in zip(kept, shipped, strict=True):
        assert bias == was
        np.testing.assert_allclose(weights, expected, atol=1e-6)
