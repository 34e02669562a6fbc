"""Feeds the messages of sampled channels to the sampler, and ends what is due: retention, channels and servers that are
gone, alerts. Where no channel may be read it only keeps house.
"""

import asyncio
import logging
import time

import discord
from discord.ext import commands, tasks

from bot.client import StoryBot
from bot.locales import speaker
from bot.mood_sampling import FLUSH_S, MoodSampler
from bot.mood_trend import Drop, drop
from bot.mood_trend_words import drop_told
from bot.store.errors import StoreError
from bot.store.moods import MoodCount

log = logging.getLogger(__name__)

_HOUSEKEEPING_H = 6.0
_SETTLED_S = 3600.0  # after a start every server has been announced by then
_BASE_HOURS = 14 * 24


class SamplingCog(commands.Cog, name="Sampling"):
    """Has no command."""

    def __init__(self, bot: StoryBot) -> None:
        self.bot = bot
        self.sampler = MoodSampler(bot.short, self.keep)
        self._began = time.monotonic()
        self._refreshing = asyncio.Lock()

    async def cog_load(self) -> None:
        self.bot.opted_out |= await self.bot.store.moods.opted_out()
        await self.refresh()
        self.bot.sampled_changed = self.refresh
        self.flush.start()
        self.keep_house.start()

    async def cog_unload(self) -> None:
        self.flush.cancel()
        self.keep_house.cancel()
        await self.sampler.close()

    async def refresh(self) -> None:
        """Sample exactly the channels that the store names, if messages can be read at all."""
        async with self._refreshing:  # or an older list could come last, and a channel that is off would be read on
            wanted = {each.channel_id for each in await self.bot.store.moods.channels()}
            if not self.bot.reads_messages:
                wanted = set()
            self.sampler.leave(self.sampler.channels - wanted)
            self.sampler.sample(wanted)

    @commands.Cog.listener()
    async def on_message(self, message: discord.Message) -> None:
        """Microseconds for any message; the text is not kept beyond the sampler's short queue."""
        if message.channel.id not in self.sampler or message.guild is None or not message.content:
            return
        author = message.author
        if author.bot or message.webhook_id is not None or message.is_system():
            return
        if self.bot.opted_out and self.bot.store.person_key(author.id) in self.bot.opted_out:
            return
        self.sampler.offer(message.channel.id, author.id, message.content)

    @commands.Cog.listener()
    async def on_guild_remove(self, guild: discord.Guild) -> None:
        if await self.bot.store.moods.forget_guild(guild.id):
            log.info("left server %d: the mood counts of its channels are deleted", guild.id)
            await self.refresh()

    @commands.Cog.listener()
    async def on_guild_channel_delete(self, channel: discord.abc.GuildChannel) -> None:
        if await self.bot.store.moods.stop_sampling(channel.id):
            await self.refresh()

    async def keep(self, channel_id: int, count: MoodCount) -> None:
        """Store a closed count, and tell of a drop where somebody asked for that."""
        if not await self.bot.store.moods.add_count(channel_id, count):
            return
        channel = await self.bot.store.moods.channel(channel_id)
        if channel is None or channel.alert_channel_id is None:
            return
        before = await self.bot.store.moods.counts(channel_id, count.hour - _BASE_HOURS, count.hour - 1)
        found = drop(count, before, alerted=channel.alerted)
        if isinstance(found, Drop):
            await self.bot.store.moods.set_alerted(channel_id, True)
            await self._alert(channel.guild_id, channel_id, channel.alert_channel_id, found)
        elif not found and channel.alerted:
            await self.bot.store.moods.set_alerted(channel_id, False)

    @tasks.loop(seconds=FLUSH_S)
    async def flush(self) -> None:
        await self.sampler.flush()

    @tasks.loop(hours=_HOUSEKEEPING_H)
    async def keep_house(self) -> None:
        """Delete what has been kept long enough, and what belongs to servers that are gone."""
        now = time.time()
        settings = self.bot.settings
        try:
            await self.bot.store.moods.forget_before(int(now // 3600) - settings.mood_keep_days * 24)
            if self.bot.is_ready() and time.monotonic() - self._began > _SETTLED_S:
                await self.forget_lost_guilds()
                await self.forget_lost_channels()
        except StoreError as error:
            log.warning("old counts could not be deleted: %s", error)

    async def forget_lost_guilds(self) -> None:
        """Servers that the bot was removed from while it did not run."""
        here = {guild.id for guild in self.bot.guilds}
        for guild_id in {each.guild_id for each in await self.bot.store.moods.channels()} - here:
            await self.bot.store.moods.forget_guild(guild_id)
        await self.refresh()

    async def forget_lost_channels(self) -> None:
        """Channels that were deleted while the bot did not run. Discord is asked: not to know one may mean less."""
        for each in await self.bot.store.moods.channels():
            guild = self.bot.get_guild(each.guild_id)
            if guild is None or guild.unavailable or guild.get_channel(each.channel_id) is not None:
                continue
            try:
                await guild.fetch_channel(each.channel_id)
            except discord.NotFound:
                await self.bot.store.moods.stop_sampling(each.channel_id)
            except discord.DiscordException as error:
                log.warning("whether channel %d is still there can't be told: %s", each.channel_id, error)
        await self.refresh()

    async def _alert(self, guild_id: int, channel_id: int, alert_channel_id: int, found: Drop) -> None:
        guild = self.bot.get_guild(guild_id)
        place = self.bot.channel_of(alert_channel_id, guild_id)
        if guild is None or place is None:
            return
        words = drop_told(channel_id, found, speaker(guild.preferred_locale.value))
        try:
            await place.send(words, allowed_mentions=discord.AllowedMentions.none())
        except discord.HTTPException as error:
            log.warning("an alert for channel %d could not be sent: %s", channel_id, error)
