"""Ends what people shared for training when its time is over: retention, servers that were left, withdrawals of which
not everybody was told. Has no command.
"""

import logging
import time
from collections.abc import Awaitable

import discord
from discord.ext import commands, tasks

from bot.client import StoryBot
from bot.store.errors import StoreError

log = logging.getLogger(__name__)

_HOUSEKEEPING_H = 6.0
_SETTLED_S = 3600.0  # after a start every server has been announced by then
_DAY_S = 86_400.0


class SharingCog(commands.Cog, name="Sharing"):
    """Discord tells when Inkwell leaves a server; when a member does, only with the Server Members intent; and when an
    account is deleted, never."""

    def __init__(self, bot: StoryBot) -> None:
        self.bot = bot
        self._began = time.monotonic()

    async def cog_load(self) -> None:
        self.keep_house.start()

    async def cog_unload(self) -> None:
        self.keep_house.cancel()

    @commands.Cog.listener()
    async def on_ready(self) -> None:
        await self._noted(self.bot.store.training.here_now(self._guilds(), complete=False))

    @commands.Cog.listener()
    async def on_guild_join(self, guild: discord.Guild) -> None:
        await self._noted(self.bot.store.training.joined(guild.id))

    @commands.Cog.listener()
    async def on_guild_remove(self, guild: discord.Guild) -> None:
        await self._noted(self.bot.store.training.left(guild.id))
        log.info("left server %d: what was shared there ends in %d days", guild.id, self.bot.settings.leave_grace_days)

    @commands.Cog.listener()
    async def on_raw_member_remove(self, payload: discord.RawMemberRemoveEvent) -> None:
        await self._noted(self.bot.store.training.member_left(payload.guild_id, payload.user.id))

    @commands.Cog.listener()
    async def on_member_join(self, member: discord.Member) -> None:
        await self._noted(self.bot.store.training.member_joined(member.guild.id, member.id))

    async def _noted(self, noting: Awaitable[object]) -> None:
        """Nobody waits for it, and where the database can't take it now, housekeeping looks again at who is where."""
        try:
            await noting
        except StoreError as error:
            log.warning("who came or left could not be noted: %s", error)

    @tasks.loop(hours=_HOUSEKEEPING_H)
    async def keep_house(self) -> None:
        """Every few hours, and soon after a start."""
        now, settings, store = time.time(), self.bot.settings, self.bot.store
        try:
            old = now - settings.training_keep_days * _DAY_S
            turns, corrections = (
                await store.training.forget_before(old),
                await store.people.forget_corrections_before(old),
            )
            drawings = await store.given.forget_before(old)
            if time.monotonic() - self._began > _SETTLED_S:
                await store.training.here_now(self._guilds(), complete=True)
            ended = await store.training.end_departed(now - settings.leave_grace_days * _DAY_S)
            if turns or corrections or drawings or ended:
                log.info(
                    "shared no more: parts %d, moods %d and drawings %d in time, parts of left servers %d",
                    turns,
                    corrections,
                    drawings,
                    ended,
                )
            await self.bot.consents.settle()
        except StoreError as error:
            log.warning("what was shared could not be ended in time: %s", error)

    @keep_house.before_loop
    async def _ready(self) -> None:
        await self.bot.wait_until_ready()

    def _guilds(self) -> frozenset[int]:
        return frozenset(guild.id for guild in self.bot.guilds)
