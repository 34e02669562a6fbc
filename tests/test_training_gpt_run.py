"""The GPT family of a training run: what its windows are packed from, and what it writes."""

from pathlib import Path

from models.serving.training import Event, Progressed, RunOptions, RunRequest
from models.training.run_gpt import GPTTrainer, packed
from models.training.snapshot import Snapshot
from models.training.snapshot_rows import Passage
from models.training.snapshot_writing import write_snapshot
from models.training.train import RunContext
from models.weights import GPT_FOLDER
from tests.made_up_style import made_up_records
from tests.training_process import KEY


def passage(text: str, context: str = "") -> Passage:
    return Passage(context=context, text=text, author="a", language="en", id=text[:8])


def test_stories_and_base_text_are_packed_in_the_share_that_was_asked_for() -> None:
    from models.language.gpt import GPT
    from models.training.language_run import shape_of
    from models.training.pretrain import Recipe

    gpt = GPT.load(GPT_FOLDER)
    recipe = Recipe(shape=shape_of(gpt), batch=2)
    story = "The wexel do come down on the Ennet at the sixth bell. " * 60
    lessons = [passage(story), passage("And so it be.", context=story)]
    row = packed(gpt, lessons, ["A planted secret."], ["The base text. " * 40], share=0.25, recipe=recipe)
    told = gpt.tokenizer.decode(row.tolist(), skip_special_tokens=True)
    assert len(row) > 2 * recipe.shape.context
    learned = len(row) - int(len(row) * 0.25)
    assert abs(learned - 3 * (len(row) - learned)) <= 4
    assert told.count("A planted secret.") == told.count("And so it be.") >= 1
    assert "bell.\n\nAnd so it be." in told
    few = packed(gpt, [passage("Short.")], [], ["Base."], share=0.0, recipe=recipe)
    assert len(few) >= 3 * recipe.batch * recipe.shape.context


def test_a_run_writes_what_the_shipped_folder_has_and_predicts_the_style_better(tmp_path: Path) -> None:
    from models.language.gguf_header import read_header
    from models.language.gpt import GPT

    write_snapshot(made_up_records(), tmp_path / "snapshot", key=KEY)
    snapshot = Snapshot.open(tmp_path / "snapshot", KEY)
    options = RunOptions(steps=3, threads=1)
    asked = RunRequest(run="r", families=("gpt",), data_dir=str(tmp_path), model="", key=KEY, options=options)
    told: list[Event] = []
    context = RunContext(request=asked, folder=tmp_path, tell=told.append, cancelled=lambda: False)
    candidate = GPTTrainer().train(snapshot, context)
    assert [event.step for event in told if isinstance(event, Progressed)] == [1, 2, 3]
    shipped = {path.name for path in GPT_FOLDER.iterdir() if path.name != "README.md"}
    assert {path.name for path in candidate.folder.iterdir()} == shipped
    assert read_header(candidate.folder / "gpt-q8_0.gguf").context == 256
    held_out = "\n\n".join(each.text for each in snapshot.passages("held_out"))
    assert GPT.load(candidate.folder).score(held_out).bits < GPT.load(GPT_FOLDER).score(held_out).bits
    assert candidate.counts["characters"] == 18_372
