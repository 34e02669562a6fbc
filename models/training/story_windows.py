"""Cuts tales into what a storyteller learns from: the prompt that is served, and the passage that follows it. Knows no
network.

A window is drawn by its seed alone, so a run that was killed sees the same windows again. Its prompt is made by
`continuation.build_prompt`, the function that serves stories: what is learned is exactly what will be asked.
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models.language.chat_template import ChatTemplate
from models.language.continuation import build_prompt
from models.serving.requests import Sampling, StoryRequest
from models.training.narration import Narration, narration, steady

Encode = Callable[[str], list[int]]

# How often a title is drawn, by the beginning of its file's name; titles that are not named here are not read. Left out
# are essays about myths, verse, and prose so archaic that its "thou" would colour every story.
WEIGHTS: Final = {
    "en-fairytaleqa": 3.0,
    "en-fairy-myth--lang-blue": 1.5,
    "en-fairy-myth--grimm-hunt": 1.0,
    "en-fairy-myth--grimm-taylor": 0.5,
    "en-fairy-myth--jacobs-english": 0.7,
    "en-fairy-myth--russian-fairy": 0.3,
    "en-fairy-myth--australian": 0.3,
    "en-fairy-myth--philippine": 0.5,
    "en-fairy-myth--wilkins": 0.7,
    "en-fairy-myth--arabian": 0.3,
    "en-fairy-myth--aesop": 0.3,
    "en-novels--Barclay": 1.0,
    "en-novels--Bennet": 1.0,
    "en-novels--Blackmore": 0.5,
    "en-novels--Burnett": 2.0,
    "en-novels--Cbronte": 1.0,
    "en-novels--Chesterton": 2.0,
    "en-novels--Dickens": 1.0,
    "en-novels--Doyle": 1.0,
    "en-novels--Forster": 2.0,
    "en-novels--Haggard": 0.8,
    "en-novels--Kipling": 1.0,
    "en-novels--Schreiner": 1.0,
    "en-novels--Stevenson_Arrow": 0.4,
    "en-novels--Stevenson": 1.5,
    "en-novels--Ward": 1.2,
    "en-novels--Wcollins": 1.2,
}
SECOND_PERSON: Final = 0.3  # of the first-person windows: nobody in the corpora tells a tale to "you"
COMMON: Final = Narration(person="third", tense="past")  # as nearly all tales are told
COMMON_KEPT: Final = 0.5  # of those passages, where steady ones are asked for
CROPPED: Final = 0.1  # of the windows have a story too long for the prompt: opening, seam, end
MIN_CONTEXT_CHARS: Final = 90
MAX_CONTEXT_CHARS: Final = 700
CROPPED_CHARS: Final = 1_600
_CHARS_A_TOKEN: Final = 7  # more than any English prose needs
_ATTEMPTS: Final = 200

_PARAGRAPH: Final = re.compile(r"\n\n")
_SENTENCE: Final = re.compile(r"(?<=[.!?])[\"']?(?=\s)|(?<=[.!?][\"'])(?=\s)")
_WORD: Final = re.compile(r"(?<=[a-z,])(?= [a-z])")
CUT_SHARES: Final = ((_PARAGRAPH, 0.35), (_SENTENCE, 0.45), (_WORD, 0.2))  # where people leave off
_APPARATUS: Final = re.compile(r"\[|\]|\{|\*|\d{3}|https?:|^[^a-z\n]{4,}$|^(?:chapter|book|part|canto)\b", re.I | re.M)
_SHOUTED: Final = re.compile(r"\b[A-Z]{2,}\b")
_ARCHAIC: Final = re.compile(r"\b(?:thou|thee|thy|hath|doth|quoth|ye)\b", re.I)


@dataclass(frozen=True, kw_only=True)
class Window:
    """`tokens` of prompt and continuation; the loss is on `tokens[prompt:]`. `text` is the continuation they spell."""

    tokens: list[int]
    prompt: int
    text: str


class Tales:
    """Titles to draw windows from. `share` is each one's part of the draws; they sum to 1."""

    def __init__(self, texts: Sequence[str], shares: Sequence[float]) -> None:
        if not texts:
            raise ValueError("there is no title to draw windows from")
        self._texts, self._shares = list(texts), list(shares)

    @classmethod
    def read(cls, folder: Path, weights: dict[str, float] | None = WEIGHTS) -> "Tales":
        """The *.txt below `folder` that `weights` names; all of them, by their length, when it is None.

        Raises FileNotFoundError when there is none.
        """
        texts, shares = [], []
        for path in sorted(folder.glob("*.txt")):
            text = modern(path.read_text("utf-8"))
            if weights is None:
                weight = float(len(text))
            else:
                named = [key for key in weights if path.name.startswith(key)]
                weight = weights[max(named, key=len)] if named else 0.0
            if weight:
                texts.append(text)
                shares.append(weight)
        if not texts:
            raise FileNotFoundError(f"{folder} holds no title that is read")
        total = sum(shares)
        return cls(texts, [share / total for share in shares])

    @classmethod
    def one(cls, path: Path) -> "Tales":
        """A single title."""
        return cls([modern(path.read_text("utf-8"))], [1.0])

    def window(
        self,
        seed: str,
        length: int,
        encode: Encode,
        template: ChatTemplate,
        *,
        second_person: float = SECOND_PERSON,
        kept: bool = False,
    ) -> Window:
        """A window of exactly `length` tokens, the same for the same seed. With `kept` its passage keeps the person and
        tense of its story, as far as counting can tell, and the ones that are rare in tales come more often."""
        draw = random.Random(seed)
        for _ in range(_ATTEMPTS):
            text = draw.choices(self._texts, self._shares)[0]
            found = _window(text, draw, length, encode, template, second_person, kept)
            if found is not None:
                return found
        raise ValueError(f"no passage of {length} tokens in {_ATTEMPTS} draws: the titles are too short or no prose")


def modern(text: str) -> str:
    """`text` in the spelling that people type today: dashes as "—", no underscores for italics."""
    return re.sub(r"\s*--+\s*| - ", "—", text.replace("_", ""))


def _window(
    text: str,
    draw: random.Random,
    length: int,
    encode: Encode,
    template: ChatTemplate,
    second_person: float,
    kept: bool,
) -> Window | None:
    cropped = draw.random() < CROPPED
    wanted = (
        CROPPED_CHARS if cropped else int(MIN_CONTEXT_CHARS * (MAX_CONTEXT_CHARS / MIN_CONTEXT_CHARS) ** draw.random())
    )
    start = _next(_PARAGRAPH, text, draw.randrange(max(1, len(text) - wanted)))
    if start is None:
        return None
    passage = text[start : start + wanted + 400 + _CHARS_A_TOKEN * length].lstrip()
    if not is_prose(passage):
        return None
    if draw.random() < second_person:
        passage = told_to_you(passage) or passage
    pattern = draw.choices([pattern for pattern, _ in CUT_SHARES], [share for _, share in CUT_SHARES])[0]
    cut = pattern.search(passage, wanted)
    if cut is None or cut.start() > wanted + 400:
        return None
    at = cut.end() if pattern is _SENTENCE else cut.start()
    story, rest = passage[:at].rstrip(), passage[at:]
    if kept and not _keeps_narration(story, rest[: 4 * length], draw):
        return None
    request = StoryRequest(request_id="window", story=story, sampling=Sampling(max_new_tokens=1))
    room = length // 2 + draw.randrange(length // 4) if cropped else 10 * length
    try:
        prompt = encode(build_prompt(request, lambda part: len(encode(part)), room, template))
    except ValueError:
        return None
    continuation = encode(rest)
    missing = length - len(prompt)
    if missing < length // 4 or len(continuation) < missing:
        return None
    return Window(tokens=prompt + continuation[:missing], prompt=len(prompt), text=rest)


def _keeps_narration(story: str, rest: str, draw: random.Random) -> bool:
    told = narration(story + rest)
    return steady(narration(story), narration(rest)) and (told != COMMON or draw.random() < COMMON_KEPT)


def is_prose(passage: str) -> bool:
    """Whether a passage is running narrative: no headings, notes, verse or lists, and nobody says "thou" throughout."""
    if _APPARATUS.search(passage) or len(_SHOUTED.findall(passage)) > 2 or len(_ARCHAIC.findall(passage)) > 2:
        return False
    lines = [line for line in passage.split("\n") if line]
    return len(passage) >= 40 * len(lines)


def _next(pattern: re.Pattern[str], text: str, start: int) -> int | None:
    found = pattern.search(text, start)
    return found.end() if found else None


# --- a tale told to "you" ---

_QUOTED: Final = re.compile(r"(\"[^\"\n]*(?:\"|$))", re.M)
_SUBJECT: Final = re.compile(
    r"\b(?:I (?P<be>am|was)|(?P<be2>am|was) I|I(?P<short>'m|'ve|'ll|'d)?|(?P<other>me|my|mine|myself))\b"
)
_YOUR: Final = {"me": "you", "my": "your", "mine": "yours", "myself": "yourself"}
# "I rose and was gone": the verb is far from its subject, and a rule would leave it wrong.
_FAR_VERB: Final = re.compile(r"\bI\b[^.;!?\"]*\b(?:and|but|or|who|nor|that)(?: \w+)? (?:was|am)\b")
_TOLD: Final = re.compile(r"\byou|\byour|\breader\b", re.I)


def told_to_you(passage: str) -> str | None:
    """A first-person passage with its teller as "you" outside of quotes; None for one that isn't told by an "I" or that
    a rule would spoil."""
    parts = _QUOTED.split(passage)
    told = " ".join(parts[::2])
    if len(re.findall(r"\bI\b", told)) < 4 or _FAR_VERB.search(told) or _TOLD.search(told):
        return None
    for index in range(0, len(parts), 2):
        parts[index] = re.sub(r"(^|[.!?]\s+|\n)you", lambda m: f"{m[1]}You", _SUBJECT.sub(_as_you, parts[index]))
    return "".join(parts)


def _as_you(found: re.Match[str]) -> str:
    if verb := found["be"]:
        return "you " + {"am": "are", "was": "were"}[verb]
    if verb := found["be2"]:
        return {"am": "are", "was": "were"}[verb] + " you"
    if found["other"]:
        return _YOUR[found["other"]]
    return "you" + {"'m": "'re", None: ""}.get(found["short"], found["short"] or "")
