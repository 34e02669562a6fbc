"""`/train`: learning from those who agreed, and which version of a model answers. Knows no model: a process of its own
trains, and `bot.promotion` lets versions answer.
"""

import asyncio
import io
import logging
import time
from typing import Any

import discord
from discord import app_commands
from discord.app_commands import locale_str
from discord.ext import commands, tasks

from bot import ballot_words, training_report, training_versions
from bot import training_words as words
from bot.ballot_box import BallotBox
from bot.client import StoryBot
from bot.locales import Say, mark, speaker
from bot.store.errors import StoreError
from bot.store.schema import MIN_AUTHORS
from bot.store.training_runs import Place, Schedule, TrainingRun
from bot.training_access import NotTrainerError
from bot.training_buttons import TrainAct, verdict_buttons
from bot.training_charts import Past, of_history
from bot.training_decisions import Answer, NoPromoterError, NotOfThisRunError, Promoter
from bot.training_families import completions, families_of, family_of
from bot.training_schedule import last_time
from models.serving.training import FAMILIES, Family

log = logging.getLogger(__name__)

_SHOWN_RUNS = 10  # of the history; an embed's description holds 4,096 characters
_DRAWN_RUNS = 16
_CHOICES, _CHOICE_CHARS = 25, 100  # Discord: of an autocompletion
_PICTURE = "history.png"
_DESCRIPTION_CHARS = 4_096  # Discord: of an embed
_REASON_CHARS = 200
_BEGUN = mark("Training `{run}` has begun: {families}. How far it is stands in this channel.")
_CANCELLING = mark("Training `{run}` is being cancelled. What answers stays as it is.")
_PROMOTED = mark("⬆️ **{family}**: `{version}` answers now. Back: `/train rollback family:{name}`")
_ROLLED_BACK = mark("↩️ **{family}**: `{version}` answers again.")
_NOT_HERE = mark("It is written down, but does not answer here: {why}")
_NO_HISTORY = mark("Nothing was trained yet.")
_FORCE = mark("Although a check or an erasure speaks against it; needs a reason")
_WHY = mark("Why; kept with the promotion")


@app_commands.guild_only()
@app_commands.default_permissions(manage_guild=True)
@app_commands.allowed_installs(guilds=True, users=False)
class TrainCog(
    commands.GroupCog,
    name="Train",
    group_name="train",
    group_description=locale_str(mark("Training on what members shared: for those who run this Inkwell")),
):
    """For those whom `bot.training_access` lets; checked here, for Discord only hides."""

    def __init__(self, bot: StoryBot) -> None:
        self.bot = bot
        self.reporter = training_report.Reporter(bot)
        self.ballot_box = BallotBox(bot)
        bot.train_press = self.press
        bot.ballot_press = self.ballot_box.press

    async def cog_load(self) -> None:
        try:
            await self.bot.training.resume()
        except (StoreError, OSError) as error:
            log.warning("a run of training that was cut short could not be taken up: %s", error)
        self.report.start()
        self.begin_due.start()

    async def cog_unload(self) -> None:
        self.report.cancel()
        self.begin_due.cancel()

    @tasks.loop(seconds=training_report.EVERY_S)
    async def report(self) -> None:
        if self.bot.is_ready():
            await self._told()

    @tasks.loop(minutes=1.0)
    async def begin_due(self) -> None:
        """A night that was missed is made up for once, at the first minute after the start."""
        if not self.bot.is_ready():
            return
        try:
            await self.bot.training.start_due()
        except Exception:  # the next minute tries again
            log.exception("scheduled training could not be begun")

    async def _told(self) -> None:
        try:
            await self.reporter.tick()
        except Exception:
            log.exception("training could not be reported")

    async def interaction_check(self, interaction: discord.Interaction[Any], /) -> bool:
        if interaction.guild_id is None:
            raise app_commands.NoPrivateMessage
        await self.bot.trainers.check(interaction)
        return True

    @app_commands.command(name="start", description=locale_str(mark("Train on what members agreed to share")))
    @app_commands.describe(families=locale_str(mark("What to train, such as: story, gpt (everything)")))
    async def start(self, interaction: discord.Interaction[StoryBot], families: str | None = None) -> None:
        await self._start(interaction, families_of(families, self.bot.training.families()))

    @app_commands.command(name="gan", description=locale_str(mark("Train portraits on pictures that members gave")))
    async def gan(self, interaction: discord.Interaction[StoryBot]) -> None:
        await self._start(interaction, ("portraits",))

    async def _start(self, interaction: discord.Interaction[StoryBot], families: tuple[Family, ...]) -> None:
        _require_a_voice(interaction)
        await interaction.response.defer(ephemeral=True, thinking=True)
        run = await self.bot.training.start(
            place=_place(interaction), families=families, user_key=self.bot.store.person_key(interaction.user.id)
        )
        say = speaker(interaction.locale.value)
        text = say(_BEGUN).format(run=run.id, families=words.families(run.families, say))
        await interaction.followup.send(text, ephemeral=True)
        await self._told()

    @app_commands.command(name="status", description=locale_str(mark("What trains, what answers, and when it begins")))
    async def status(self, interaction: discord.Interaction[StoryBot]) -> None:
        await interaction.response.defer(ephemeral=True)
        say, runs = speaker(interaction.locale.value), self.bot.store.training_runs
        live = self.bot.training.live
        embed = discord.Embed(title=say(mark("Training")), colour=discord.Colour.blurple())
        latest = await runs.latest(1)
        if live is not None:
            embed.description = words.progress(live, say)
        elif latest:
            embed.description = words.past(latest[0], say)
        else:
            embed.description = say(_NO_HISTORY)
        answering = await asyncio.to_thread(training_versions.answering, self.bot.registry, say)
        embed.add_field(name=say(mark("Answers")), value="\n".join(answering), inline=False)
        embed.add_field(name=say(mark("Schedule")), value=words.when(await runs.schedule(), say), inline=False)
        await interaction.followup.send(embed=embed, ephemeral=True)

    @app_commands.command(name="cancel", description=locale_str(mark("End the training that is in progress")))
    async def cancel(self, interaction: discord.Interaction[StoryBot]) -> None:
        await interaction.response.defer(ephemeral=True)
        run = await self.bot.training.cancel()
        text = speaker(interaction.locale.value)(_CANCELLING).format(run=run.id)
        await interaction.followup.send(text, ephemeral=True)

    @app_commands.command(
        name="history", description=locale_str(mark("Past runs: verdicts, curves, how much was learned"))
    )
    async def history(self, interaction: discord.Interaction[StoryBot]) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        say = speaker(interaction.locale.value)
        runs = await self.bot.store.training_runs.latest(_DRAWN_RUNS)
        if not runs:
            await interaction.followup.send(say(_NO_HISTORY), ephemeral=True)
            return
        ballots = await self.bot.store.ballots.of_runs([run.id for run in runs[:_SHOWN_RUNS]])
        lines = []
        for run in runs[:_SHOWN_RUNS]:
            lines.append(words.past(run, say))
            if votes := ballot_words.totals([each for each in ballots if each.key.run_id == run.id], say):
                lines.append(votes)
        embed = discord.Embed(title=say(mark("Past training")), description="\n".join(lines)[:_DESCRIPTION_CHARS])
        latest = next((run for run in runs if run.curves), runs[0])
        past = [_past(run) for run in reversed(runs) if run.counted is not None]
        picture = await asyncio.to_thread(of_history, past, latest.curves)
        if picture is None:
            await interaction.followup.send(embed=embed, ephemeral=True)
            return
        embed.set_footer(
            text=say(
                mark(
                    "Picture: bits per byte on held-out text before (hollow) and after each version (diamond: "
                    "rejected), characters learned from, losses of the latest run."
                )
            )
        )
        held = [each for each in map(words.held_out, latest.judged) if each is not None]
        file = discord.File(io.BytesIO(picture), _PICTURE, description=words.described(held, latest.curves, say))
        await interaction.followup.send(embed=embed, file=file, ephemeral=True)

    @app_commands.command(name="data", description=locale_str(mark("How much could be learned now, in numbers only")))
    async def data(self, interaction: discord.Interaction[StoryBot]) -> None:
        await interaction.response.defer(ephemeral=True)
        say = speaker(interaction.locale.value)
        at_least = 1 if self.bot.settings.in_sandbox else MIN_AUTHORS  # there one person plays with their own words
        counts = await self.bot.store.training.counts(at_least)
        embed = discord.Embed(
            title=say(mark("What members agreed to share")), description=words.data(counts, at_least, say)
        )
        await interaction.followup.send(embed=embed, ephemeral=True)

    @app_commands.command(name="promote", description=locale_str(mark("Let a version answer, with no restart")))
    @app_commands.describe(version=locale_str(mark("Which version")), reason=locale_str(_WHY), force=locale_str(_FORCE))
    async def promote(
        self,
        interaction: discord.Interaction[StoryBot],
        version: str,
        reason: app_commands.Range[str, 1, _REASON_CHARS] | None = None,
        force: bool = False,
    ) -> None:
        await interaction.response.defer(thinking=True)  # for all to see: it changes what answers them
        family, version_id = await asyncio.to_thread(training_versions.version_of, self.bot.registry, version)
        answer = await self._promoter().promote(
            family, version_id, by=self._by(interaction), reason=reason or "", force=force
        )
        await interaction.followup.send(_changed(answer, family, _PROMOTED, speaker(interaction.locale.value)))

    @promote.autocomplete("version")
    async def _which_version(
        self, interaction: discord.Interaction[StoryBot], typed: str
    ) -> list[app_commands.Choice[str]]:
        if not await self.bot.trainers.may(interaction):
            return []
        say = speaker(interaction.locale.value)
        found = await asyncio.to_thread(training_versions.choices, self.bot.registry)
        wanted = typed.casefold().split()
        listed = [(training_versions.named(each, say)[:_CHOICE_CHARS], each.value) for each in found]
        return [
            app_commands.Choice(name=name, value=value)
            for name, value in listed
            if all(word in f"{name} {value}".casefold() for word in wanted)
        ][:_CHOICES]

    @app_commands.command(
        name="rollback", description=locale_str(mark("Let the version before the present one answer"))
    )
    @app_commands.describe(family=locale_str(mark("Of which model")), reason=locale_str(_WHY), force=locale_str(_FORCE))
    @app_commands.choices(
        family=[app_commands.Choice[str](name=locale_str(words.FAMILIES[each]), value=each) for each in FAMILIES]
    )
    async def rollback(
        self,
        interaction: discord.Interaction[StoryBot],
        family: str,
        reason: app_commands.Range[str, 1, _REASON_CHARS] | None = None,
        force: bool = False,
    ) -> None:
        await interaction.response.defer(thinking=True)
        named = family_of(family)
        assert named is not None  # one of the choices
        answer = await self._promoter().rollback(named, by=self._by(interaction), reason=reason or "", force=force)
        await interaction.followup.send(_changed(answer, named, _ROLLED_BACK, speaker(interaction.locale.value)))

    @app_commands.command(name="schedule", description=locale_str(mark("When training begins by itself")))
    @app_commands.describe(
        when=locale_str(mark("How often")),
        hour=locale_str(mark("At which hour, in UTC (3)")),
        weekday=locale_str(mark("On which day, where it is weekly (Sunday)")),
        families=locale_str(mark("What to train, such as: story, gpt (everything)")),
    )
    @app_commands.choices(
        when=[
            app_commands.Choice(name=locale_str(mark("off")), value="off"),
            app_commands.Choice(name=locale_str(mark("nightly")), value="nightly"),
            app_commands.Choice(name=locale_str(mark("weekly")), value="weekly"),
        ]
    )
    @app_commands.choices(
        weekday=[app_commands.Choice(name=locale_str(name), value=number) for number, name in enumerate(words.WEEKDAYS)]
    )
    async def schedule(
        self,
        interaction: discord.Interaction[StoryBot],
        when: str,
        hour: app_commands.Range[int, 0, 23] = 3,
        weekday: int = 6,
        families: str | None = None,
    ) -> None:
        runs, say = self.bot.store.training_runs, speaker(interaction.locale.value)
        if when == "off":
            await interaction.response.defer(ephemeral=True)
            await runs.set_schedule(None)
            await interaction.followup.send(words.when(None, say), ephemeral=True)
            return
        chosen = families_of(families, self.bot.training.families()) if families else ()
        _require_a_voice(interaction)
        await interaction.response.defer(ephemeral=True)
        self.bot.training.require_allowed()
        day = weekday if when == "weekly" else None
        schedule = Schedule(
            hour=hour,
            weekday=day,
            families=chosen,
            place=_place(interaction),
            user_key=self.bot.store.person_key(interaction.user.id),
            due_at=last_time(hour, day, time.time()),  # what passed before somebody wanted it was not missed
        )
        await runs.set_schedule(schedule)
        await interaction.followup.send(words.when(schedule, say), ephemeral=True)

    @start.autocomplete("families")
    @schedule.autocomplete("families")
    async def _which_families(
        self, interaction: discord.Interaction[StoryBot], typed: str
    ) -> list[app_commands.Choice[str]]:
        found = completions(typed, self.bot.training.families())
        return [app_commands.Choice(name=each, value=each) for each in found[:_CHOICES]]

    async def press(
        self, interaction: discord.Interaction[Any], act: TrainAct, run_id: str, family: Family | None
    ) -> None:
        """A button of a run. Raises NotTrainerError and what the act raises."""
        await interaction.response.defer()
        if interaction.guild_id is None:
            raise NotTrainerError
        await self.bot.trainers.check(interaction)
        if act == "cancel":
            await self.bot.training.cancel(run_id)
            await self._told()
            return
        if act == "vote":
            await self.ballot_box.post(interaction, run_id)
            return
        decisions, by = self.bot.decisions, self._by(interaction)
        if act == "keep":
            await decisions.keep(run_id)
        elif family is None:
            raise NotOfThisRunError
        elif act == "promote":
            await decisions.promote(run_id, family, by=by)
        else:
            await decisions.roll_back(run_id, family, by=by)
        run = await self.bot.store.training_runs.run(run_id)
        say = speaker(run.locale)
        view = verdict_buttons(run, say, await self.bot.store.ballots.of_run(run_id))
        await interaction.edit_original_response(embed=training_report.note(run, say), view=view)

    def _promoter(self) -> Promoter:
        if self.bot.decisions.promoter is None:
            raise NoPromoterError
        return self.bot.decisions.promoter

    def _by(self, interaction: discord.Interaction[Any]) -> str:
        """Who promotes, as the registry keeps it."""
        return self.bot.store.person_key(interaction.user.id)


def _changed(answer: Answer, family: Family, text: str, say: Say) -> str:
    version = answer.promotion.version or training_versions.SHIPPED_NAME
    told = say(text).format(family=say(words.FAMILIES[family]), version=version, name=family)
    return f"{told}\n{say(_NOT_HERE).format(why=answer.why)}" if answer.why else told


def _past(run: TrainingRun) -> Past:
    held = tuple(each for each in map(words.held_out, run.judged) if each is not None)
    return Past(
        label=time.strftime("%m-%d", time.gmtime(run.created_at)),
        characters=0 if run.counted is None else run.counted.characters,
        held=held,
    )


def _place(interaction: discord.Interaction[Any]) -> Place:
    assert interaction.guild_id is not None
    assert interaction.channel_id is not None
    return Place(guild_id=interaction.guild_id, channel_id=interaction.channel_id, locale=interaction.locale.value)


def _require_a_voice(interaction: discord.Interaction[Any]) -> None:
    """What is to be told must be allowed to be told here. Raises BotMissingPermissions."""
    held = interaction.app_permissions
    in_thread = isinstance(interaction.channel, discord.Thread)
    needed = {
        "send_messages_in_threads" if in_thread else "send_messages": (
            held.send_messages_in_threads if in_thread else held.send_messages
        ),
        "view_channel": held.view_channel,
        "embed_links": held.embed_links,
        "attach_files": held.attach_files,
    }
    if missing := [name for name, given in needed.items() if not given]:
        raise app_commands.BotMissingPermissions(missing)
