"""The story models that Inkwell recommends, by what the machine has: size, languages, licence, and what was tried.
Fetches and loads nothing.

`tried` is honest about each row: the machine on which this table was made reaches package indexes and no Hugging Face
hub, so sizes and memory of the models there are estimates.
"""

import difflib
from dataclasses import dataclass
from typing import Final

from models.language.known_models import DEFAULT_SPEC, GEMMA_SPEC

_GB: Final = 1_000_000_000
_MB: Final = 1_000_000
GPT_NAME: Final = "gpt"


class UnknownModelNameError(ValueError):
    """No such row. The message is a sentence with the nearest name, or all of them."""


@dataclass(frozen=True, kw_only=True)
class Licence:
    """A model's licence. `restricts`, where it is not empty, says in a sentence how use is restricted: then whoever
    runs Inkwell has to accept it before the model is fetched. `links` lead to what counts."""

    name: str
    links: tuple[str, ...]
    restricts: str = ""


@dataclass(frozen=True, kw_only=True)
class Recommended:
    """One row. `spec` is what STORY_MODEL takes, "" for a model that every Inkwell carries and only `/story model:`
    names. `languages` are ISO 639-1 codes of those that it writes well enough for a story. `memory_bytes` is what it
    takes while it writes: of the GPU with `wants_gpu`, for on a CPU it would write slower than people read; else of the
    main memory. `needs_torch`: the files are for the transformers engine.
    """

    name: str
    spec: str
    languages: tuple[str, ...]
    licence: Licence
    download_bytes: int
    memory_bytes: int
    wants_gpu: bool = False
    needs_torch: bool = False
    tried: str


_APACHE: Final = Licence(name="Apache-2.0", links=("https://www.apache.org/licenses/LICENSE-2.0",))
_MIT: Final = Licence(name="MIT", links=())
_GEMMA: Final = Licence(
    name="Gemma Terms of Use",
    links=("https://ai.google.dev/gemma/terms", "https://ai.google.dev/gemma/prohibited_use_policy"),
    restricts=(
        "Google licenses Gemma under terms of its own: the uses that its policy forbids are not allowed to you or to "
        "anybody you serve with it, whoever passes the model on must pass the terms on, and Google may end the licence."
    ),
)
_NOT_TRIED: Final = "not tried by us: our machine reaches no Hugging Face hub"

CATALOGUE: Final = (
    Recommended(
        name=GPT_NAME,
        spec="",
        languages=("en", "zh"),
        licence=_MIT,
        download_bytes=0,
        memory_bytes=60 * _MB,
        tried="our own; on every machine, as /story model:gpt",
    ),
    Recommended(
        name="smollm2-135m-instruct",
        spec=DEFAULT_SPEC,
        languages=("en",),
        licence=_APACHE,
        download_bytes=93 * _MB,
        memory_bytes=400 * _MB,
        tried="the default, measured in the README; up to 0.9 GB where OpenVINO runs it (4 GiB or more)",
    ),
    Recommended(
        name="gemma3-270m",
        spec=GEMMA_SPEC,
        languages=("en", "zh"),
        licence=_GEMMA,
        download_bytes=238 * _MB,
        memory_bytes=600 * _MB,
        tried="fetched and run here: 40 tokens/s on one core; Chinese readable but rambling (a base model)",
    ),
    Recommended(
        name="smollm2-360m-instruct",
        spec="HuggingFaceTB/SmolLM2-360M-Instruct",
        languages=("en",),
        licence=_APACHE,
        download_bytes=724 * _MB,
        memory_bytes=2 * _GB,
        needs_torch=True,
        tried=_NOT_TRIED,
    ),
    Recommended(
        name="qwen2.5-0.5b-instruct",
        spec="Qwen/Qwen2.5-0.5B-Instruct",
        languages=("en", "zh"),
        licence=_APACHE,
        download_bytes=988 * _MB,
        memory_bytes=3 * _GB,
        needs_torch=True,
        tried=_NOT_TRIED,
    ),
    Recommended(
        name="qwen2.5-1.5b-instruct",
        spec="Qwen/Qwen2.5-1.5B-Instruct",
        languages=("en", "zh"),
        licence=_APACHE,
        download_bytes=3_090 * _MB,
        memory_bytes=5 * _GB,
        wants_gpu=True,
        needs_torch=True,
        tried=_NOT_TRIED,
    ),
    Recommended(
        name="smollm2-1.7b-instruct",
        spec="HuggingFaceTB/SmolLM2-1.7B-Instruct",
        languages=("en",),
        licence=_APACHE,
        download_bytes=3_420 * _MB,
        memory_bytes=6 * _GB,
        wants_gpu=True,
        needs_torch=True,
        tried=_NOT_TRIED,
    ),
    Recommended(
        name="qwen2.5-7b-instruct",
        spec="Qwen/Qwen2.5-7B-Instruct",
        languages=("en", "zh"),
        licence=_APACHE,
        download_bytes=15_200 * _MB,
        memory_bytes=20 * _GB,
        wants_gpu=True,
        needs_torch=True,
        tried=_NOT_TRIED,
    ),
)


def named(name: str) -> Recommended:
    """The row of this name, or of this spec. Raises UnknownModelNameError."""
    wanted = name.strip().lower()
    for row in CATALOGUE:
        if wanted in (row.name, row.spec.lower() or None):
            return row
    names = [row.name for row in CATALOGUE]
    near = [each for each in names if wanted and wanted in each]
    near = near or difflib.get_close_matches(wanted, names, n=1, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names)}."
    raise UnknownModelNameError(f"The table has no model {name!r}: {hint}")


def of_spec(spec: str) -> Recommended | None:
    """The row whose model STORY_MODEL=`spec` names; None for a model of the operator's own choice."""
    return next((row for row in CATALOGUE if row.spec and row.spec.lower() == spec.strip().lower()), None)


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """What a machine has for models, in bytes: its main memory, and that of its largest GPU (0: none that torch could
    use)."""

    memory_bytes: int
    gpu_memory_bytes: int = 0


def misfit(row: Recommended, hardware: Hardware) -> str:
    """Why a model does not suit a machine, in a few words; "" when it suits."""
    needed = f"{row.memory_bytes / _GB:.1f} GB"
    if row.wants_gpu and hardware.gpu_memory_bytes < row.memory_bytes:
        return f"wants a GPU with {needed}"
    if not row.wants_gpu and hardware.memory_bytes < row.memory_bytes:
        return f"wants {needed} of memory"
    return ""
