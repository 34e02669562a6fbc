"""What goes wrong with training, in one sentence each. `sentences` has the table for everything else."""

from collections.abc import Callable

from bot.locales import Say, mark
from bot.promotion import PromotionFailedError
from bot.store.ballots import BallotClosedError, BallotGoneError
from bot.store.training_runs import TrainingRunNotFoundError, TrainingUnderWayError
from bot.training import NothingToLearnError, NoTrainingError, TrainingClosedError, TrainingNotAllowedError
from bot.training_access import NotTrainerError
from bot.training_decisions import NoPromoterError, NotOfThisRunError
from bot.training_families import NoSuchFamilyError
from models.training.registry import (
    DamagedVersionError,
    MarkedError,
    NotAcceptedError,
    NothingToRollBackError,
    VersionNotFoundError,
)


def _under_way(error: TrainingUnderWayError, say: Say) -> str:
    return say(
        mark("Training `{run}` is in progress, and there is one run at a time. Wait for it, or `/train cancel`.")
    ).format(run=error.run.id)


def _no_family(error: NoSuchFamilyError, say: Say) -> str:
    return say(mark("I can train these: {names}. Name one or more, with commas between, or none for all.")).format(
        names=", ".join(error.possible)
    )


def _not_promoted(error: PromotionFailedError, say: Say) -> str:
    return say(mark("That version can't answer here, and nothing was changed: {why}")).format(why=error)


def _fixed(text: str) -> Callable[[BaseException, Say], str]:
    return lambda error, say: say(text)


TRAIN_SENTENCES: tuple[tuple[type[BaseException], Callable[..., str]], ...] = (
    (
        NotTrainerError,
        _fixed(
            mark(
                "Training changes the models for everybody whom this Inkwell serves: only who runs it may do that, and "
                "who manages a server that they named for it."
            )
        ),
    ),
    (
        TrainingNotAllowedError,
        _fixed(
            mark(
                "Training on members' words is not switched on. Whoever runs me can do that (TRAIN_ON_PROMPTS in "
                ".env); docs/training.md says what to settle with Discord first."
            )
        ),
    ),
    (TrainingUnderWayError, _under_way),
    (
        NothingToLearnError,
        _fixed(mark("There is nothing to learn yet: nobody has agreed that such words of theirs may train.")),
    ),
    (TrainingClosedError, _fixed(mark("I'm restarting. Start the training once I'm back."))),
    (BallotClosedError, _fixed(mark("This vote is over: what was which has been told."))),
    (BallotGoneError, _fixed(mark("I no longer keep the texts of this vote."))),
    (NoTrainingError, _fixed(mark("No training is in progress."))),
    (TrainingRunNotFoundError, _fixed(mark("I no longer know this run. `/train history` shows those I know."))),
    (
        NotOfThisRunError,
        _fixed(mark("That version does not answer any more, so there is nothing of this run to take back.")),
    ),
    (NoPromoterError, _fixed(mark("I can't let another version answer right now. Try again after my next start."))),
    (NoSuchFamilyError, _no_family),
    (PromotionFailedError, _not_promoted),
    (VersionNotFoundError, _fixed(mark("There is no such version (any more). Choose one from the list."))),
    (
        DamagedVersionError,
        _fixed(mark("The files of that version are not what was registered, so it must not answer. The log has more.")),
    ),
    (
        NotAcceptedError,
        _fixed(
            mark("That version did not pass every check. `force:` with a `reason:` overrules that; both are logged.")
        ),
    ),
    (
        MarkedError,
        _fixed(
            mark(
                "That version learned from somebody who had their words erased since. Train again instead; `force:` "
                "with a `reason:` overrules this, and both are logged."
            )
        ),
    ),
    (
        NothingToRollBackError,
        _fixed(mark("What Inkwell came with answers already: there is nothing to roll back.")),
    ),
)
