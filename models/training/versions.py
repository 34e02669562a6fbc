"""What the registry says of a version, a promotion and a mark, and which champions follow from the promotions. Knows no
disk.
"""

import hashlib
import math
import sys
from collections.abc import Iterable
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from models.serving.training import Check

SHIPPED: Final = ""  # stands for what Inkwell came with


class Version(Struct, frozen=True, kw_only=True):
    """One candidate for good. `created_at` in Unix seconds; `base` what it was trained from, `model` the weight spec
    that it is for ("" = none), `run` the training run; `files` the sha256 of each by its name within the folder.
    `contributors` are digests that tell nobody's key and are others in every version."""

    id: str
    family: str
    created_at: float
    base: str = ""
    model: str = ""
    run: str = ""
    files: dict[str, str] = {}
    metrics: dict[str, float] = {}
    checks: tuple[Check, ...] = ()
    accepted: bool = False
    data_digest: str = ""
    counts: dict[str, int] = {}
    code_version: str = ""
    contributors: tuple[str, ...] = ()
    recipe: dict[str, Any] = {}


class Mark(Struct, frozen=True, kw_only=True):
    """Somebody whose words are in `version` had them erased, `at` Unix seconds."""

    version: str
    at: float
    reason: Literal["erased"] = "erased"


class Promotion(Struct, frozen=True, kw_only=True):
    """From `at` (Unix seconds) on `version` answered in place of `former`; "" is what is shipped. `forced`: the gate or
    a mark spoke against it, and `reason` says why it was done."""

    at: float
    version: str
    former: str
    by: str
    reason: str = ""
    forced: bool = False
    kind: Literal["promote", "rollback"] = "promote"


class RegistryError(Exception):
    """Nothing was changed; the message is one sentence that says why."""


class VersionNotFoundError(RegistryError):
    """There is no such version (any more)."""


class DamagedVersionError(RegistryError):
    """Its files are not what was registered."""


class NotAcceptedError(RegistryError):
    """The gate said no."""


class MarkedError(RegistryError):
    """It learned from somebody who had their words erased."""


class NothingToRollBackError(RegistryError):
    """What is shipped answers already, and there is no champion before it."""


def contributor_digest(author_key: str, version_id: str) -> str:
    """What stands for an author in one version: of the same author in two versions nobody can tell without the key."""
    return hashlib.blake2b(author_key.encode(), key=version_id.encode(), digest_size=16).hexdigest()


def line_of_champions(past: Iterable[Promotion]) -> list[str]:
    """From what is shipped to the present champion: each stands behind the one that a rollback from it brings back."""
    line = [SHIPPED]
    for promotion in past:
        if promotion.kind == "rollback" and promotion.version in line[:-1]:
            line.pop()
            while line[-1] != promotion.version:  # those in between are collected
                line.pop()
        if line[-1] != promotion.version:  # also after a line of the file that was lost
            line.append(promotion.version)
    return line


def finite(check: Check) -> Check:
    def bounded(value: float) -> float:
        if math.isnan(value):
            return sys.float_info.max
        return min(max(value, -sys.float_info.max), sys.float_info.max)

    before = None if check.before is None else bounded(check.before)
    return msgspec.structs.replace(check, value=bounded(check.value), limit=bounded(check.limit), before=before)
