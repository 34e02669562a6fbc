"""`inkwell gan …`: train, judge and sample the portrait GAN; `verse_cli` has the verses. Knows no Discord.

torch is imported by the commands that need it: sampling does without.
"""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from models.serving.short_model import ShortModelMissingError
from models.verse_cli import verse
from models.weights import PORTRAITS_FOLDER

gan = typer.Typer(
    name="gan",
    help="The GAN that draws portraits, and the generators of verses: train, evaluate and sample them.",
    no_args_is_help=True,
    add_completion=False,
)

gan.add_typer(verse)

DataFolder = Annotated[Path, typer.Argument(help="Folder with dice16.npz and attributes.json.gz.", exists=True)]
ModelFolder = Annotated[Path, typer.Option("--model", "-m", help="Folder of a portrait model; ours when left out.")]
Threads = Annotated[int, typer.Option(min=1, help="CPU threads.")]


def _need_torch(threads: int) -> None:
    try:
        import torch
    except ImportError as error:
        raise typer.BadParameter(f"this needs torch ({error}): pip install 'inkwell[torch]'.") from error
    torch.set_num_threads(threads)


@gan.command()
def data(
    out: Annotated[Path, typer.Argument(help="Folder for dice16.npz and attributes.json.gz.")],
    packages: Annotated[Path, typer.Option(help="Folder whose node_modules holds the DiceBear packages.", exists=True)],
    count: Annotated[int, typer.Option(min=1, max=100_000)] = 8000,
) -> None:
    """Make the pictures that the GAN learns from, with Node.js and the npm packages of the data set's README."""
    from models.training.gan_recipe import RecipeError, make

    try:
        kept = make(packages, out, count)
    except RecipeError as error:
        raise typer.BadParameter(str(error)) from error
    Console().print(f"Pictures in {out}: {kept}")


@gan.command()
def train(
    folder: DataFolder,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run; a stopped run goes on from it.")],
    minutes: Annotated[float | None, typer.Option(min=0.1, help="How long, by the clock.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="How long, where no minutes are given.")] = 20_000,
    begin: Annotated[Path | None, typer.Option("--from", help="A portrait model to go on from.", exists=True)] = None,
    loss: Annotated[str, typer.Option(help="relativistic (R3GAN) or classical (Goodfellow et al. 2014).")] = (
        "relativistic"
    ),
    rate: Annotated[float, typer.Option(min=1e-6, max=0.1)] = 1.5e-3,
    gamma: Annotated[float, typer.Option(min=0.0, help="Weight of both gradient penalties.")] = 1.0,
    batch: Annotated[int, typer.Option(min=2, max=1024)] = 16,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    classifier: Annotated[Path, typer.Option(help="The attribute classifier that judges.", exists=True)] = (
        PORTRAITS_FOLDER / "attributes.safetensors"
    ),
    palette: Annotated[bool, typer.Option(help="Put each pixel on the nearest colour of the data.")] = True,
    fp32: Annotated[bool, typer.Option("--fp32", help="For a processor without bf16 arithmetic.")] = False,
    threads: Threads = 1,
) -> None:
    """Train, or go on with a run that was stopped. The averaged generator ends up in OUT/model."""
    _need_torch(threads)
    from models.gan.attribute_classifier import AttributeClassifier
    from models.gan.losses import LOSSES
    from models.gan.networks import Shape
    from models.training.gan_data import REFERENCE, read
    from models.training.gan_export import export, exported
    from models.training.gan_run import Judge
    from models.training.gan_run import train as run_training
    from models.training.gan_train import Recipe

    if loss not in LOSSES:
        raise typer.BadParameter(f"there is no loss {loss!r}; there are {', '.join(LOSSES)}.")
    try:
        portraits = read(folder)
        shape, *start = exported(begin) if begin is not None else (Shape(), None, None)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    recipe = Recipe(
        seed=seed, loss=loss, batch=batch, rate=rate, gamma=gamma, minutes=minutes, steps=steps, bf16=not fp32
    )
    judge = Judge(AttributeClassifier.load(classifier), portraits.pictures[REFERENCE])
    weights = None if start[0] is None or start[1] is None else (start[0], start[1])
    run = run_training(portraits, shape, recipe, out, judge, begin=weights)
    origin = (
        f"{run.position.step} steps of {batch} pictures, seed {seed}, {loss} loss, {run.cpu_s / 60:.1f} CPU-minutes"
        + (f", from {begin.name}" if begin is not None else "")
    )
    export(out / "model", run.average, run.discriminator, classifier, portraits, palette=palette, origin=origin)
    Console().print(f"{origin}: {out / 'model'}")


@gan.command("classifier")
def train_judge(
    folder: DataFolder,
    out: Annotated[Path, typer.Option("--out", "-o", help="File for the weights.")],
    epochs: Annotated[float, typer.Option(min=0.01)] = 45.0,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    threads: Threads = 1,
) -> None:
    """Train the attribute classifier that judges pictures and puts them into words."""
    _need_torch(threads)
    from models.gan.attribute_classifier import AttributeClassifier
    from models.training.gan_classifier import accuracy, train_classifier
    from models.training.gan_data import VALIDATION, read

    try:
        portraits = read(folder)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    console = Console()
    learned = portraits.part(slice(0, VALIDATION.start))
    train_classifier(
        learned,
        seed=seed,
        epochs=epochs,
        tell=lambda step, steps, loss: console.print(f"step {step} of {steps}: loss {loss:.2f}"),
    ).save(out)
    table = Table("field", "accuracy")
    for field, share in accuracy(AttributeClassifier.load(out), portraits.part(VALIDATION)).items():
        table.add_row(field, f"{share:.3f}")
    console.print(table)


@gan.command()
def evaluate(
    folder: DataFolder,
    model: ModelFolder = PORTRAITS_FOLDER,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for evaluation.json and samples.png.")] = Path("gan"),
    count: Annotated[int, typer.Option(min=100, max=3000, help="Pictures in each set.")] = 3000,
    threads: Threads = 1,
) -> None:
    """Judge a portrait model: KID, Frechet distance, precision and recall, copies, coverage."""
    _need_torch(threads)
    from models.gan.attribute_classifier import AttributeClassifier
    from models.gan.portrait_weights import ATTRIBUTES
    from models.gan.portrait_weights import read as read_weights
    from models.gan.portraits import PortraitModel
    from models.training.gan_data import read
    from models.training.gan_evaluate import evaluate as judge

    try:
        report = judge(
            read(folder),
            PortraitModel(read_weights(model)),
            AttributeClassifier.load(model / ATTRIBUTES),
            out,
            count=count,
        )
    except ValueError as error:  # the data's, or the weights' ShortModelMissingError
        raise typer.BadParameter(str(error)) from error
    table = Table("", "KID", "Frechet", "precision", "recall", "nearest", "copies", "near", "coverage", "shift")
    for row in report.rows:
        numbers = (row.kid, row.frechet, row.precision, row.recall)
        table.add_row(
            row.name,
            *(f"{each:.3f}" for each in numbers),
            f"{row.nearest_pixel:.1f}",
            str(row.copies),
            f"{row.near_copies:.3f}",
            f"{row.coverage:.3f}",
            f"{row.shift:.3f}",
        )
    traits = Table("trait", "seen as asked", "seen in real pictures")
    for trait, share in report.obeyed.items():
        traits.add_row(trait, f"{share:.3f}", f"{report.accuracy[trait]:.3f}")
    console = Console(width=max(110, Console().width))  # a row must stay one line, in a log too
    console.print(table, traits, f"{report.version}: {out / 'evaluation.json'}, {out / 'samples.png'}")


@gan.command()
def sample(
    seed: Annotated[str, typer.Argument(help="Any words; the same words give the same face.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="PNG to write.")] = Path("portrait.png"),
    count: Annotated[int, typer.Option(min=1, max=9)] = 1,
    trait: Annotated[list[str] | None, typer.Option(help="NAME:WORD, e.g. glasses:yes; may be repeated.")] = None,
    truncation: Annotated[float, typer.Option(min=0.0, max=1.0)] = 0.8,
    morph: Annotated[str | None, typer.Option(help="A second seed: writes a GIF from one to the other.")] = None,
    frames: Annotated[int, typer.Option(min=2, max=48)] = 24,
    model: ModelFolder = PORTRAITS_FOLDER,
) -> None:
    """Draw portraits from a seed, or a morph between two. Needs no torch."""
    from models.gan.portrait_weights import read as read_weights
    from models.gan.portraits import PortraitModel
    from models.serving.short_requests import Look, Morph, MorphRequest, PortraitRequest, Portraits

    traits = dict(each.partition(":")[::2] for each in trait or ())
    seeds = (seed, *(f"{seed} {number}" for number in range(2, count + 1)))
    request = (
        MorphRequest(
            start=seed,
            end=morph,
            start_look=Look(attributes=traits),
            end_look=Look(attributes=traits),
            frames=frames,
            truncation=truncation,
        )
        if morph is not None
        else PortraitRequest(seeds=seeds, attributes=traits, truncation=truncation)
    )
    try:
        (answer,) = PortraitModel(read_weights(model)).answer([request])
    except (ShortModelMissingError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
    console = Console()
    if isinstance(answer, Morph):
        out = out.with_suffix(".gif")
        out.write_bytes(answer.gif)
    elif isinstance(answer, Portraits):
        out.write_bytes(answer.grid)
        for each in answer.portraits:
            console.print(each.seed, ", ".join(f"{name}: {word}" for name, word in each.attributes.items()))
    console.print(f"{answer.model_version}: {out}")


def main() -> None:
    """The commands as a process of their own."""
    gan(prog_name="inkwell gan")


if __name__ == "__main__":
    main()
