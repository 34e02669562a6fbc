"""`/inkwell channels`: where moods are sampled. Knows no message."""

import logging
from typing import Any

import discord
from discord import app_commands
from discord.app_commands import locale_str

from bot.client import StoryBot
from bot.locales import Say, mark, speaker
from bot.mood_trend_words import NO_INTENT
from bot.store.moods import MoodChannel

log = logging.getLogger(__name__)

_NOTICE = mark(
    "📊 From now on Inkwell samples the mood of this channel: it reads each message once in memory and keeps only how "
    "many were positive, neutral and negative, and only for times in which at least 5 people wrote. No text and no "
    "names are kept. See it with `/mood channel`; leave your messages out with `/mood optout`."
)
_ON = mark("The mood of {channel} is sampled from now on, and I said so there.")
_ON_UNSAID = mark("The mood of {channel} is sampled from now on. I may not write there: please tell its members.")
_CHANGED = mark("{channel} is sampled already; where alerts go is changed.")
_OFF = mark("The mood of {channel} is sampled no more, and what was counted there is deleted.")
_WAS_OFF = mark("The mood of {channel} is not sampled.")
_NONE = mark("No channel's mood is sampled in this server. `/inkwell channels on` begins.")
_LINE = mark("{channel} since {when}")
_ALERTS = mark("{line}, a sudden drop is told in {alert}")
_UNSEEN = mark("I can't see {channel}, so there is nothing to sample. Let me view it first.")
_NOTHING_CHANGED = mark("Nothing was changed.")
_NO_ALERT_PLACE = mark("I may not write in {channel}, so no alert could go there. Nothing was changed.")


class ChannelsGroup(app_commands.Group):
    """Part of `/inkwell`, with the same check: only for members who may manage the server."""

    def __init__(self, bot: StoryBot) -> None:
        super().__init__(name="channels", description=locale_str(mark("Channels whose mood is sampled; none at first")))
        self.bot = bot

    async def interaction_check(self, interaction: discord.Interaction[Any], /) -> bool:
        if interaction.guild_id is None:
            raise app_commands.NoPrivateMessage
        if not interaction.permissions.manage_guild:
            raise app_commands.MissingPermissions(["manage_guild"])
        return True

    @app_commands.command(
        name="on", description=locale_str(mark("Sample a channel's mood: counts only, and its members are told"))
    )
    @app_commands.describe(
        channel=locale_str(mark("Which channel")),
        alert=locale_str(mark("Where to tell of a sudden drop, such as a channel of admins (nowhere)")),
    )
    async def on(
        self,
        interaction: discord.Interaction[StoryBot],
        channel: discord.TextChannel,
        alert: discord.TextChannel | None = None,
    ) -> None:
        assert interaction.guild_id is not None
        await interaction.response.defer(ephemeral=True, thinking=True)
        say = speaker(interaction.locale.value)
        if alert is not None and not _may_write(alert):
            await interaction.followup.send(say(_NO_ALERT_PLACE).format(channel=alert.mention), ephemeral=True)
            return
        if not self.bot.reads_messages:  # nobody would be told when the reading begins, so it can't be prepared
            await interaction.followup.send(f"{say(_NOTHING_CHANGED)}\n{say(NO_INTENT)}", ephemeral=True)
            return
        if not channel.permissions_for(channel.guild.me).view_channel:
            await interaction.followup.send(say(_UNSEEN).format(channel=channel.mention), ephemeral=True)
            return
        before = await self.bot.store.moods.channel(channel.id)
        await self.bot.store.moods.sample(channel.id, interaction.guild_id, alert.id if alert else None)
        await self.bot.sampled_changed()
        if before is not None:
            words = say(_CHANGED).format(channel=channel.mention)
        else:
            told = await _tell_members(channel, speaker(channel.guild.preferred_locale.value))
            words = say(_ON if told else _ON_UNSAID).format(channel=channel.mention)
        await interaction.followup.send(words, ephemeral=True)

    @app_commands.command(
        name="off", description=locale_str(mark("Sample a channel no more, and delete what was counted there"))
    )
    @app_commands.describe(channel=locale_str(mark("Which channel")))
    async def off(self, interaction: discord.Interaction[StoryBot], channel: discord.TextChannel) -> None:
        await interaction.response.defer(ephemeral=True)
        stopped = await self.bot.store.moods.stop_sampling(channel.id)
        await self.bot.sampled_changed()
        words = speaker(interaction.locale.value)(_OFF if stopped else _WAS_OFF).format(channel=channel.mention)
        await interaction.followup.send(words, ephemeral=True)

    @app_commands.command(name="list", description=locale_str(mark("Which channels' mood is sampled")))
    async def listing(self, interaction: discord.Interaction[StoryBot]) -> None:
        assert interaction.guild_id is not None
        await interaction.response.defer(ephemeral=True)
        say = speaker(interaction.locale.value)
        channels = await self.bot.store.moods.channels(interaction.guild_id)
        lines = [_line(each, say) for each in channels] or [say(_NONE)]
        if not self.bot.reads_messages:
            lines.append(say(NO_INTENT))
        embed = discord.Embed(title=say(mark("Channels whose mood is sampled")), description="\n".join(lines))
        await interaction.followup.send(embed=embed, ephemeral=True)


def _line(channel: MoodChannel, say: Say) -> str:
    words = say(_LINE).format(channel=f"<#{channel.channel_id}>", when=f"<t:{round(channel.since)}:D>")
    if channel.alert_channel_id is None:
        return words
    return say(_ALERTS).format(line=words, alert=f"<#{channel.alert_channel_id}>")


def _may_write(channel: discord.TextChannel) -> bool:
    allowed = channel.permissions_for(channel.guild.me)
    return allowed.view_channel and allowed.send_messages


async def _tell_members(channel: discord.TextChannel, say: Say) -> bool:
    """Nobody is counted without a word. False where the bot may not write."""
    if not _may_write(channel):
        return False
    try:
        await channel.send(say(_NOTICE), allowed_mentions=discord.AllowedMentions.none())
    except discord.HTTPException as error:
        log.warning("the members of channel %d could not be told: %s", channel.id, error)
        return False
    return True
