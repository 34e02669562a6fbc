"""Fetches and describes the configured model for the command line. Knows where weights lie, not what is in them."""

import sys
from pathlib import Path

from bot import licences
from models.language import weights
from models.language.adapters import resolve_adapter
from models.language.catalogue import of_spec
from models.language.weight_files import check_language_model
from models.language.weight_progress import Report, console_progress


class NotAcceptedError(Exception):
    """The model's licence restricts use and nobody has accepted it; the message is one sentence for the operator."""


def made_ready(spec: str, data_dir: Path, progress: Report) -> weights.LocalModel:
    """The model, fetched where it is missing. Raises WeightsError, NotAcceptedError."""
    row = of_spec(spec)
    if row is not None and licences.needs_acceptance(row.licence, data_dir):
        raise NotAcceptedError(
            f"{row.name} stands under the {row.licence.name} ({row.licence.links[0]}), which nobody has accepted here "
            f"yet: run `inkwell models use {row.name}`, or set another STORY_MODEL."
        )
    model = weights.resolve(spec, data_dir, fetch=True, progress=progress)
    check_language_model(model.path)
    return model


def fetch(spec: str, data_dir: Path) -> int:
    """Make sure that the model is there, with a progress bar while it comes; the exit status of a command."""
    try:
        with console_progress(sys.stderr) as (progress, _):
            model = made_ready(spec, data_dir, progress)
    except (weights.WeightsError, NotAcceptedError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stderr.write(f"The model {model.version} is in {model.path}.\n")
    return 0


def describe(spec: str, data_dir: Path, adapter_spec: str = "none") -> tuple[bool, str]:
    """Whether the model and its adapter are there and whole, every byte read, and a sentence about them."""
    try:
        model = weights.resolve(spec, data_dir, fetch=False)
        weights.verify(model)
        check_language_model(model.path)
        adapter = resolve_adapter(adapter_spec, model)
    except weights.WeightsMissingError as error:
        if weights.is_local(spec):
            return False, str(error)
        return False, f"{spec} is not fetched yet; `inkwell pull` fetches it (or the first `make run`)"
    except weights.WeightsError as error:
        return False, str(error)
    told = f", and its adapter {adapter.version} is there" if adapter else ""
    return True, f"{model.version} is whole ({model.path}){told}"
