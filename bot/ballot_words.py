"""What is said of a blind vote: while it goes on nothing of what is which, then all of it, and whether that many votes
say anything. Knows ballots; knows no Discord object.
"""

import math
from collections.abc import Sequence

from bot.locales import Say, mark
from bot.store.ballots import Ballot, Choice
from bot.training_words import FAMILIES

CHANCE = 0.05  # what comes more often than this by chance says nothing
NEEDED = math.ceil(1 - math.log2(CHANCE))  # so many who all agree are the fewest that can say something

TITLE = mark("🗳️ Blind vote {number} of {count}: {family}")
QUESTION = mark(
    "Two versions of the model went on with the same beginning. Which text do you like better? Which is which is told "
    "at the end."
)
VOTED = mark("Voted so far: {count}")
OVER = mark("Voted: {count} · this vote is over")
RESULT = mark("What was which")
CHANGE = mark("You can change your vote until the end: press another button.")
YOURS: dict[Choice, str] = {
    "a": mark("Your vote: **A**."),
    "b": mark("Your vote: **B**."),
    "same": mark("Your vote: **no difference**."),
}
FORGOTTEN = mark(
    "🗳️ The texts of this vote are kept no more: their run is forgotten, or somebody had their words erased from which "
    "one of the versions had learned."
)


def sign_test(first: int, second: int) -> float:
    """In 0..1: how often chance alone divides `first` + `second` votes at least so unevenly, either way (two-sided
    sign test). Votes for neither are to be left out."""
    votes, fewer = first + second, min(first, second)
    tail = sum(math.comb(votes, count) for count in range(fewer + 1))
    return min(1.0, tail / (1 << votes) * 2)


def result(ballot: Ballot, say: Say) -> str:
    """Of one that is closed: which was the candidate, the counts, and what they say."""
    own, other = ("A", "B") if ballot.candidate_first else ("B", "A")
    was = (
        say(
            mark(
                "**{own}** was the candidate `{version}`, **{other}** the version `{against}` that answered before it."
            )
        )
        if ballot.against
        else say(mark("**{own}** was the candidate `{version}`, **{other}** what Inkwell came with."))
    )
    counts = say(mark("For the candidate: {own} · for the other: {other} · no difference: {same}")).format(
        own=ballot.for_candidate, other=ballot.for_other, same=ballot.votes["same"]
    )
    return "\n".join(
        (
            was.format(own=own, other=other, version=ballot.version, against=ballot.against),
            counts,
            _meaning(ballot.for_candidate, ballot.for_other, say),
        )
    )


def _meaning(own: int, other: int, say: Say) -> str:
    if own + other < NEEDED:
        return say(
            mark(
                "So few say nothing: it takes at least {count} people who see a difference before chance can be ruled "
                "out, and then only if they all agree."
            )
        ).format(count=NEEDED)
    chance = sign_test(own, other)
    share = f"{chance:.1%}" if chance >= 0.001 else "< 0.1%"
    if chance > CHANCE:
        return say(
            mark("That says nothing: tossing coins gives a result at least as uneven in {share} of all cases.")
        ).format(share=share)
    words = (
        mark(
            "People like the candidate's text better: tossing coins gives so uneven a result in only {share} of all "
            "cases. It is one pair of texts, though, and not the whole model."
        )
        if own > other
        else mark(
            "People like the candidate's text less: tossing coins gives so uneven a result in only {share} of all "
            "cases. It is one pair of texts, though, and not the whole model."
        )
    )
    return say(words).format(share=share)


def totals(ballots: Sequence[Ballot], say: Say) -> str:
    """All votes on a run's closed ballots in one line, a part for each family; "" where there are none."""
    parts = []
    for family in dict.fromkeys(ballot.key.family for ballot in ballots):
        closed = [ballot for ballot in ballots if ballot.key.family == family and not ballot.open]
        if any(ballot.voted for ballot in closed):
            words = say(mark("{family}: {own} for the candidate, {other} for the other, {same} no difference"))
            parts.append(
                words.format(
                    family=say(FAMILIES[family]),
                    own=sum(ballot.for_candidate for ballot in closed),
                    other=sum(ballot.for_other for ballot in closed),
                    same=sum(ballot.votes["same"] for ballot in closed),
                )
            )
    return f"-# 🗳️ {' · '.join(parts)}" if parts else ""
