"""`inkwell lm …`: train, inspect, score, sample and compare our own language models. Knows no Discord.

Heavy libraries are imported by the command that needs them, so that the n-gram commands start without torch.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from models.language.voices import CHARACTERS, HOUSE, TOKENS, voice_folder
from models.weights import GPT_FOLDER

if TYPE_CHECKING:
    from models.language.gpt import GPT
    from models.language.mixture import HouseVoice
    from models.language.ngram import Inspection
    from models.training.evaluate import Family

lm = typer.Typer(
    name="lm",
    help="Language models of our own: n-gram, GPT and their mixture.",
    no_args_is_help=True,
    add_completion=False,
)
train = typer.Typer(name="train", help="Train a model or prepare a corpus.", no_args_is_help=True)
lm.add_typer(train)

ModelFolder = Annotated[
    Path,
    typer.Option("--model", "-m", help="Folder of an n-gram model, a GPT or a voice; `gpt` is the one that ships."),
]
_HOUSE_VOICE = Path("data/voices") / HOUSE
_BAR = 40


def _is_ngram(folder: Path) -> bool:
    return (folder / "ngram.json").exists()


def _named(folder: Path) -> Path:
    """The folder of the shipped GPT for `gpt`, unless there is a folder of that name here."""
    return GPT_FOLDER if str(folder) == "gpt" and not folder.exists() else folder


def _read_text(path: Path) -> str:
    """The text of a UTF-8 file in normal form; a clear refusal otherwise."""
    from models.language.normal_form import normalise

    try:
        return normalise(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"{path} isn't UTF-8 text ({error.reason} at byte {error.start}).") from error
    except OSError as error:
        raise typer.BadParameter(f"{path} can't be read: {error.strerror}.") from error


def _load(folder: Path) -> "Family":
    if _is_ngram(folder):
        from models.language.ngram import NGram
        from models.training.families import NGramFamily

        return NGramFamily(NGram.load(folder))
    from models.training.families import TokenFamily

    return TokenFamily(_load_for_torch(folder))


def _load_for_torch(folder: Path) -> "GPT | HouseVoice":
    voice = (folder / TOKENS / "ngram.json").exists()
    if not voice and not (folder / "config.json").exists():
        raise typer.BadParameter(
            f"{folder} holds neither an n-gram model (ngram.json) nor a GPT (config.json) nor a voice ({TOKENS})."
        )
    try:
        from models.language.gpt import GPT
    except ImportError as error:
        raise typer.BadParameter(f"this needs torch ({error}): pip install 'inkwell[torch]'.") from error
    if not voice:
        return GPT.load(folder)
    from models.language.mixture import HouseVoice
    from models.language.ngram import NGram

    mixed = HouseVoice(GPT.load(GPT_FOLDER), [NGram.load(folder / TOKENS)], learns=True)
    mixed.load_weights(folder / TOKENS)
    return mixed


@train.command("corpus")
def prepare_corpus(
    stories: Annotated[Path, typer.Argument(help="Folder with en-*/ and zh-*/ folders of .txt files.", exists=True)],
    out: Annotated[Path, typer.Argument(help="Folder for the clean text.")],
) -> None:
    """Clean, de-duplicate and split public-domain prose."""
    from models.training.corpus import write_corpus

    for name, size in write_corpus(stories, out).items():
        Console().print(f"{name}: {size:,} characters")


@train.command("ngram")
def train_ngram(
    files: Annotated[list[Path], typer.Argument(help="UTF-8 text files.", exists=True)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the model.")],
    order: Annotated[int, typer.Option(min=1, max=10)] = 6,
    unit: Annotated[Literal["character", "word"], typer.Option()] = "character",
    smoothing: Annotated[Literal["kneser-ney", "witten-bell"], typer.Option()] = "kneser-ney",
    dev: Annotated[
        Path | None, typer.Option(help="A text that is not learned, to fit Kneser-Ney's discounts on.", exists=True)
    ] = None,
) -> None:
    """Learn text files into a new model."""
    from models.language.ngram import NGram

    if _is_ngram(out):
        raise typer.BadParameter(f"{out} holds a model already; give another folder.")
    model = NGram(order=order, unit=unit, smoothing=smoothing)
    for path in files:
        model.add(_read_text(path))
    if dev is not None:
        try:
            model.fit_discounts(_read_text(dev))
        except ValueError as error:
            raise typer.BadParameter(f"{error}.") from error
    model.save(out)
    Console().print(f"{model.counts.length:,} {unit}s learned, {len(model.dictionary):,} different, in {out}")


@train.command("gpt")
def train_gpt(
    corpus: Annotated[Path, typer.Argument(help="What `train corpus` wrote.", exists=True)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run; goes on where it was.")],
    steps: Annotated[int, typer.Option(min=1)] = 6_000,
    hours: Annotated[float | None, typer.Option(help="End the schedule after so many hours at the latest.")] = None,
    vocabulary: Annotated[int, typer.Option(help="BPE entries, e.g. 4096 or 8192.")] = 8_192,
    layers: Annotated[int, typer.Option(min=1)] = 5,
    hidden: Annotated[int, typer.Option(min=64)] = 256,
    batch: Annotated[int, typer.Option(min=1)] = 8,
    seed: Annotated[int, typer.Option()] = 1,
    begin: Annotated[
        Path | None,
        typer.Option("--from", help="Go on from this GPT's weights (`gpt`: the one that ships), in its shape."),
    ] = None,
    rate: Annotated[float, typer.Option(min=0.001, help="Peak learning rates as a part of the usual ones.")] = 1.0,
) -> None:
    """Train a small GPT from nothing, or go on with one."""
    import time

    from models.language.gpt import GPT, Shape
    from models.training.language_run import shape_of
    from models.training.language_run import train as run
    from models.training.pretrain import Recipe

    if begin is not None:
        begin = _named(begin)
        shape = shape_of(GPT.load(begin))
    else:
        shape = Shape(vocabulary=vocabulary, layers=layers, hidden=hidden, heads=hidden // 64, feed_forward=3 * hidden)
    recipe = Recipe(
        shape=shape,
        steps=steps,
        deadline=None if hours is None else time.time() + hours * 3600,
        batch=batch,
        matrix_rate=rate * Recipe.matrix_rate,
        embedding_rate=rate * Recipe.embedding_rate,
        seed=seed,
        evaluate_every=500 if begin is None else 250,
        patience=Recipe.patience if begin is None else 0,  # a rate that warms up again loses before it gains
    )
    Console().print(f"The best weights are in {run(recipe, corpus, out, begin=begin)}")


@train.command("average")
def train_average(
    one: Annotated[Path, typer.Argument(help="A GPT's folder; `gpt` is the one that ships.")],
    other: Annotated[Path, typer.Argument(help="Another's, that was trained on from it.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the average, in fp16.")],
    share: Annotated[float, typer.Option(min=0.0, max=1.0, help="Of the second one's weights.")] = 0.5,
) -> None:
    """Average the weights of two GPTs of one origin."""
    from models.language.gpt import GPT
    from models.training.averaging import average

    try:
        average(GPT.load(_named(one)), GPT.load(_named(other)), share).save(out)
    except ValueError as error:
        raise typer.BadParameter(f"{error}.") from error
    Console().print(f"The average is in {out}")


@lm.command()
def teach(
    files: Annotated[list[Path], typer.Argument(help="UTF-8 text files.", exists=True, dir_okay=False)],
    data_dir: Annotated[Path, typer.Option("--data-dir", help="Inkwell's DATA_DIR.")] = Path("data"),
    name: Annotated[str, typer.Option(help="A server's number, or `house` for all that have no voice.")] = HOUSE,
) -> None:
    """Add texts to a voice that `/story model:` can write in, at once."""
    from models.training.teach import teach as add

    try:
        taught = add([_read_text(path) for path in files], data_dir, name, gpt_folder=GPT_FOLDER)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    learned = "n-gram and house voice" if taught.mixture else "n-gram only (the house voice needs torch)"
    Console().print(
        f"Characters that the voice {name} knows now: {taught.characters:,}, different ones: {taught.dictionary:,}; "
        f"{learned}."
    )


@lm.command()
def forget(
    name: Annotated[str, typer.Argument(help="The voice: a server's number, or `house`.")],
    data_dir: Annotated[Path, typer.Option("--data-dir", help="Inkwell's DATA_DIR.")] = Path("data"),
) -> None:
    """Remove a voice and all that it learned. A model can't unlearn one text alone: teach the others again."""
    import shutil

    try:
        folder = voice_folder(data_dir, name)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if not folder.is_dir():
        raise typer.BadParameter(f"There is no voice {name} in {data_dir}.")
    shutil.rmtree(folder)
    Console().print(f"The voice {name} is gone.")


@lm.command()
def inspect(
    text: Annotated[str, typer.Argument(help="What has been written so far.")],
    model: ModelFolder = _HOUSE_VOICE,
    top: Annotated[int, typer.Option(min=1, max=100)] = 10,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Show the dictionary's size, what may come next with probabilities, and the backoff path."""
    from models.language.ngram import NGram

    if not _is_ngram(model) and _is_ngram(model / CHARACTERS):
        model = model / CHARACTERS
    if not _is_ngram(model):
        raise typer.BadParameter(f"{model} is no n-gram model; `inkwell lm teach FILE` or `lm train ngram` makes one.")
    found = NGram.load(model).inspect(text, top=top)
    if as_json:
        from dataclasses import asdict

        typer.echo(json.dumps(asdict(found), ensure_ascii=False))
        return
    _print_inspection(found)


def _print_inspection(found: "Inspection") -> None:
    console = Console()
    console.print(
        f"{found.dictionary_size:,} different {found.unit}s in the dictionary, {found.symbols_counted:,} counted, "
        f"order {found.order}, {found.smoothing}"
    )
    following = Table("next", "probability", "", title="What may come next")
    highest = max((probability for _, probability in found.following), default=1.0)
    for symbol, probability in found.following:
        following.add_row(repr(symbol), f"{probability:.4f}", "█" * max(1, round(_BAR * probability / highest)))
    path = Table("context", "seen", "continuations", "decides", title="Where it comes from")
    for step in found.path:
        path.add_row(repr(step.context), f"{step.count:,}", f"{step.continuations:,}", f"{step.weight:.2%}")
    console.print(following, path)


@lm.command()
def score(
    file: Annotated[Path, typer.Argument(help="A UTF-8 text file.", exists=True, dir_okay=False)],
    model: ModelFolder = _HOUSE_VOICE,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Print perplexity, bits per character and bits per byte of a text."""
    from dataclasses import asdict

    from models.training.evaluate import predict

    text = _read_text(file)
    if not text:
        raise typer.BadParameter(f"{file} is empty.")
    (found,) = predict(model.name, _load(_named(model)), {file.name: text})
    if as_json:
        typer.echo(json.dumps(asdict(found), ensure_ascii=False))
        return
    typer.echo(
        f"{found.bits_per_character:.4f} bits per character, {found.bits_per_byte:.4f} bits per byte, "
        f"perplexity {found.perplexity:.2f} per symbol"
    )


@lm.command()
def sample(
    prompt: Annotated[str, typer.Argument(help="The text to continue.")],
    model: ModelFolder = _HOUSE_VOICE,
    length: Annotated[int, typer.Option(help="Characters (n-gram) or tokens (GPT).", min=1)] = 300,
    temperature: Annotated[float, typer.Option(min=0.0)] = 0.8,
    top_k: Annotated[int, typer.Option(min=0)] = 0,
    top_p: Annotated[float, typer.Option(min=0.01, max=1.0)] = 0.95,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Continue a text."""
    model = _named(model)
    if _is_ngram(model):
        from models.language.ngram import NGram

        text = NGram.load(model).sample(
            prompt, max_symbols=length, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed
        )
    else:
        text = _load_for_torch(model).sample(
            prompt, max_new_tokens=length, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed
        )
    typer.echo(prompt + text)


@lm.command()
def compare(
    files: Annotated[list[Path], typer.Argument(help="UTF-8 text files.", exists=True, dir_okay=False)],
    models: Annotated[list[Path], typer.Option("--model", "-m", help="As in `score`; repeat it.")],
    prompts: Annotated[
        list[str] | None,
        typer.Option("--prompt", "-p", help="Also let each model continue this, and judge what it wrote."),
    ] = None,
    learned: Annotated[
        Path | None, typer.Option(help="The training text, to find what was copied from it.", exists=True)
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the first prompt; the next has the next.")] = 1,
    chart: Annotated[Path | None, typer.Option(help="Also draw it all as a PNG.")] = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Score several models on the same texts and prompts, as a table, JSON and a chart."""
    from models.training import evaluate

    texts = {path.stem: _read_text(path) for path in files}
    training = None if learned is None else evaluate.TrainingText(_read_text(learned))
    found, writings = [], []
    for folder in models:
        family = _load(_named(folder))
        found += evaluate.predict(folder.name, family, texts)
        if prompts:
            writings.append(evaluate.write(folder.name, family, prompts, training, seed=seed)[0])
    if as_json:
        typer.echo(evaluate.as_json(found, writings))
    else:
        typer.echo(evaluate.as_table(found))
        if writings:
            typer.echo("\n" + evaluate.writings_as_table(writings))
    if chart:
        from models.training.language_charts import draw_comparison

        draw_comparison(found, chart, writings)


def main() -> None:
    """`inkwell lm`."""
    lm(prog_name="inkwell lm")


if __name__ == "__main__":
    main()
