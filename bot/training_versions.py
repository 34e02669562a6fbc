"""Versions of models as people choose them: in a list, by `family/id`. Knows the registry's records and no model.
`shipped` stands for what Inkwell came with.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from bot.locales import Say, mark
from bot.training_families import family_of
from models.serving.training import FAMILIES, Family
from models.training.registry import SHIPPED, Registry, VersionNotFoundError

SHIPPED_NAME = "shipped"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A version that could be promoted. `marked`: it learned from somebody who had their words erased."""

    family: Family
    version: str
    created_at: float
    accepted: bool
    marked: bool
    answers: bool

    @property
    def value(self) -> str:
        return f"{self.family}/{self.version or SHIPPED_NAME}"


def choices(registry: Registry, families: Sequence[Family] = FAMILIES) -> list[Choice]:
    """Newest first, and what is shipped of each family that has versions. Blocks."""
    found: list[Choice] = []
    for family in families:
        versions = registry.versions(family)
        if not versions:
            continue
        champion, marks = registry.champion_id(family), registry.marks(family)
        found += [
            Choice(
                family=family, version=each.id, created_at=each.created_at, accepted=each.accepted,
                marked=each.id in marks, answers=each.id == champion,
            )
            for each in versions
        ]  # fmt: skip
        found.append(
            Choice(
                family=family, version=SHIPPED, created_at=0.0, accepted=True, marked=False,
                answers=champion == SHIPPED,
            )
        )  # fmt: skip
    return sorted(found, key=lambda choice: choice.created_at, reverse=True)


def named(choice: Choice, say: Say) -> str:
    """For a list; a plain line without markup."""
    if choice.version == SHIPPED:
        about = [say(mark("what Inkwell came with"))]
    else:
        about = [time.strftime("%Y-%m-%d %H:%M", time.gmtime(choice.created_at))]
        about.append(say(mark("passed") if choice.accepted else mark("rejected")))
    if choice.marked:
        about.append(say(mark("erased words")))
    if choice.answers:
        about.append(say(mark("answers now")))
    return f"{choice.family} · {' · '.join(about)}"


def version_of(registry: Registry, typed: str) -> tuple[Family, str]:
    """Of `family/id`, `family/shipped` or an id alone. Raises VersionNotFoundError. Blocks."""
    name, _, version = typed.strip().strip("`").rpartition("/")
    family = family_of(name)
    if family is not None:
        return family, SHIPPED if version == SHIPPED_NAME else version
    for each in FAMILIES:
        if any(known.id == version for known in registry.versions(each)):
            return each, version
    raise VersionNotFoundError(f"There is no version {typed[:80]!r}.")


def answering(registry: Registry, say: Say) -> list[str]:
    """A line for each family: which version is to answer. Blocks."""
    lines = []
    for family in FAMILIES:
        champion = registry.champion_id(family)
        if champion == SHIPPED:
            lines.append(say(mark("`{family}`: what Inkwell came with")).format(family=family))
        else:
            at = registry.promotions(family)[-1].at
            words = say(mark("`{family}`: `{version}` since <t:{at}:d>"))
            lines.append(words.format(family=family, version=champion, at=round(at)))
    return lines
