"""Who may train: a new version answers everybody whom this Inkwell serves, so that managing one server is not enough.
Knows Discord's application and permissions; knows no training.
"""

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands

if TYPE_CHECKING:
    from bot.client import StoryBot

log = logging.getLogger(__name__)

_KNOWN_FOR_S = 600.0  # a team changes rarely; who left it may act so much longer
_TEAM_ROLES = (discord.TeamMemberRole.admin, discord.TeamMemberRole.developer)  # others may only look


class NotTrainerError(app_commands.CheckFailure):
    """This person may not train here."""


class Trainers:
    """In Discord: the application's owner, or its team's owner, admins and developers; and those who may manage a
    server that the operator named in TRAIN_GUILDS. In the sandbox, where one person plays: who manages it."""

    def __init__(self, bot: "StoryBot", clock: Callable[[], float] = time.monotonic) -> None:
        self._bot, self._clock = bot, clock
        self._owners: frozenset[int] = frozenset()
        self._asked_at: float | None = None

    async def check(self, interaction: discord.Interaction[Any]) -> None:
        """Raises NotTrainerError."""
        if not await self.may(interaction):
            raise NotTrainerError

    async def may(self, interaction: discord.Interaction[Any]) -> bool:
        settings = self._bot.settings
        manages = interaction.guild_id is not None and interaction.permissions.manage_guild
        if settings.in_sandbox:
            return manages
        if manages and interaction.guild_id in settings.training_guilds:
            return True
        return interaction.user.id in await self._known_owners()

    async def _known_owners(self) -> frozenset[int]:
        now = self._clock()
        if self._asked_at is None or now - self._asked_at > _KNOWN_FOR_S:
            try:
                self._owners = _owners_of(await self._bot.application_info())
                self._asked_at = now
            except (discord.HTTPException, OSError) as error:  # those known before, at first nobody
                log.warning("Discord did not say who owns the application: %s", error)
        return self._owners


def _owners_of(application: discord.AppInfo) -> frozenset[int]:
    team = application.team
    if team is None:
        return frozenset((application.owner.id,))
    accepted = {
        member.id
        for member in team.members
        if member.membership_state is discord.TeamMembershipState.accepted and member.role in _TEAM_ROLES
    }
    return frozenset(accepted | ({team.owner_id} if team.owner_id is not None else set()))
