"""Which version of each family is to answer under the settings of now, as folders for those who load them. Knows no
engine and no process.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from bot.settings import Settings
from models.language.adapters import DEFAULT, read_adapter
from models.language.weight_files import WeightsError, check_language_model
from models.serving.training import FAMILIES
from models.training.registry import SHIPPED, Registry, RegistryError, Version
from models.weights import GPT_GGUF

log = logging.getLogger(__name__)

STORY_FAMILIES: Final = ("story", "gpt", "ngram")  # the workers of stories host them, the others the small process


@dataclass(frozen=True, kw_only=True)
class Champions:
    """Folders of the versions that answer, by family; what is shipped answers for all others. `passed_over` has a
    sentence for each family whose champion can't answer here, and `ids` every champion, whether it answers or not."""

    folders: Mapping[str, Path] = field(default_factory=lambda: MappingProxyType({}))
    ids: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    passed_over: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def adapter(self) -> Path | None:
        """Of the story model."""
        return self.folders.get("story")

    @property
    def named(self) -> dict[str, str]:
        """For `WorkerConfig.champions`."""
        return {family: str(self.folders[family]) for family in ("gpt", "ngram") if family in self.folders}

    @property
    def short_options(self) -> dict[str, str]:
        """For `ShortConfig.options`."""
        return {
            f"{family}_champion": str(self.folders[family])
            for family in ("mood", "portraits")
            if family in self.folders
        }

    def answering(self) -> dict[str, str]:
        """The ids of the versions that answer."""
        return {family: self.ids[family] for family in self.folders}

    def without(self, family: str, why: str) -> "Champions":
        """What is shipped answers for `family`."""
        folders = {each: folder for each, folder in self.folders.items() if each != family}
        return Champions(folders=folders, ids=self.ids, passed_over={**self.passed_over, family: why})


NONE: Final = Champions()


def champions_of(registry: Registry, settings: Settings) -> Champions:
    """Look at every champion, all its bytes. One that is damaged, or that is for other settings, is passed over: it is
    no reason not to start. Blocks."""
    found = NONE
    for family in FAMILIES:
        try:
            champion = registry.champion_id(family)
        except OSError as error:
            log.warning("nobody knows the champion of %s: %s", family, error)
            continue
        found = with_version(found, registry, settings, family, champion)
    return found


def with_version(
    champions: Champions, registry: Registry, settings: Settings, family: str, version_id: str
) -> Champions:
    """`champions` with this version, or SHIPPED, in place of the one of `family`. Blocks as long as its bytes are
    read."""
    folders, ids, passed_over = dict(champions.folders), dict(champions.ids), dict(champions.passed_over)
    for each in (folders, ids, passed_over):
        each.pop(family, None)
    if version_id != SHIPPED:
        ids[family] = version_id
        try:
            folder = registry.verified(family, version_id).absolute()
            why = why_not(registry.version(family, version_id), folder, settings)
        except (RegistryError, OSError) as error:
            why = str(error)
        if why:
            passed_over[family] = why
        else:
            folders[family] = folder
    return Champions(folders=folders, ids=ids, passed_over=passed_over)


def warn_of(champions: Champions) -> None:
    """In the log, for the operator."""
    for family, why in champions.passed_over.items():
        log.warning("what is shipped answers as %s in place of the champion: %s", family, why)


def why_not(version: Version, folder: Path, settings: Settings) -> str:
    """A sentence why a whole version can't answer here; "" when it can."""
    if version.family not in STORY_FAMILIES:
        return ""
    if settings.remote:
        return "The stories are written on a server elsewhere (STORY_ENGINE=openai), which loads no version of ours."
    try:
        match version.family:
            case "story":
                return _why_no_adapter(version, folder, settings)
            case "gpt":
                check_language_model(folder / GPT_GGUF.name)
            case _:
                places = (folder / "ngram.json", folder / "characters" / "ngram.json")
                json.loads(next(place for place in places if place.is_file()).read_bytes())
    except WeightsError as error:
        return str(error)
    except (StopIteration, ValueError):
        return f"{folder} holds no n-gram model."
    return ""


def _why_no_adapter(version: Version, folder: Path, settings: Settings) -> str:
    if settings.story_adapter != DEFAULT:
        return (
            f"STORY_ADAPTER={settings.story_adapter} names another adapter: the version {version.id} answers with "
            "STORY_ADAPTER=default."
        )
    if version.model != settings.story_model:
        return f"The version {version.id} is for the model {version.model}, and STORY_MODEL is {settings.story_model}."
    read_adapter(folder)
    return ""
