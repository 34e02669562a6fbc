"""Short work: what is asked of the small models (moods, portraits, verses) and what they answer. Plain data like
`requests`, that knows no model and no host.

An answer is one struct, not a stream. Each request names its answer's type by its base, so that a caller of
`ShortEngine.ask` gets what it asked for.
"""

from typing import Annotated, Generic, Literal, TypeVar

from msgspec import Meta, Struct

MAX_MOOD_CHARS = 20_000  # a longer text is cut by whoever asks; a model reads only its first tokens anyway
MAX_SEED_CHARS = 200
MAX_PORTRAITS = 9
MAX_MORPH_FRAMES = 48
MAX_VERSE_LINES = 4
MAX_OPENING_CHARS = 40

Label = Literal["negative", "neutral", "positive"]
# The five methods of the article, the two tiers of the fifth, and the calibrated default.
Method = Literal["default", "positive_lexicon", "negative_lexicon", "naive_bayes", "rules", "linear", "encoder"]
METHODS: tuple[Method, ...] = ("positive_lexicon", "negative_lexicon", "naive_bayes", "rules", "linear", "encoder")

Answer = TypeVar("Answer", covariant=True)


class ShortRequest(Struct, Generic[Answer], frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all short requests."""


class Evidence(Struct, frozen=True, kw_only=True):
    """A piece of the text that decided. `weight` > 0 speaks for positive, < 0 for negative, in the method's unit."""

    text: str
    weight: float


class Mood(Struct, frozen=True, kw_only=True, tag="mood_output"):
    """The sentiment of one text by one method.

    `probabilities` are of negative, neutral, positive and sum to 1 (calibrated where the method is: `calibrated`).
    `label` is the most likely one; `sure` False means that the method abstains ("unsure"). `notes` say what the reader
    should know, as words of `MoodNote`. `evidence` is strongest first.
    """

    label: Label
    probabilities: tuple[float, float, float]
    sure: bool
    method: Method
    model_version: str
    language: Literal["en", "zh", "other", "none"]
    calibrated: bool = False
    evidence: tuple[Evidence, ...] = ()
    notes: tuple[str, ...] = ()


# "empty" nothing to read; "no_words" only links, code or digits; "emoji_only"; "one_word"; "other_language" trained on
# neither; "mixed" strong words of both kinds; "cut" only the beginning was read; "irony" marks of sarcasm, which no
# method here understands.
MoodNote = Literal["empty", "no_words", "emoji_only", "one_word", "other_language", "mixed", "cut", "irony"]


class MoodRequest(ShortRequest[Mood], frozen=True, kw_only=True, tag="mood"):
    """The mood of `text` by `method`. Only its first tokens are read where it is longer than the model's window, unless
    the method averages over windows (then "cut" is not among the notes). Without `explain` a method whose evidence
    costs time may leave it out, and the note "mixed" with it."""

    text: Annotated[str, Meta(max_length=MAX_MOOD_CHARS)]
    method: Method = "default"
    explain: bool = True


Seed = Annotated[str, Meta(min_length=1, max_length=MAX_SEED_CHARS)]


class Portrait(Struct, frozen=True, kw_only=True):
    """One picture. `png` is enlarged; `attributes` is what the attribute classifier sees in it (name -> value, plain
    English words), for alt texts. `seed` and `attributes` asked for reproduce it on the same `model_version`."""

    seed: str
    png: bytes
    attributes: dict[str, str]


class Portraits(Struct, frozen=True, kw_only=True, tag="portraits"):
    """`grid` is all of them in one PNG (the portrait itself when there is one)."""

    portraits: tuple[Portrait, ...]
    grid: bytes
    model_version: str


class PortraitRequest(ShortRequest[Portraits], frozen=True, kw_only=True, tag="portrait"):
    """Pictures from `seeds` (any words), one for each. `attributes` asks for traits, e.g. {"glasses": "yes"};
    `truncation` 1 is the model's whole variety, 0 its mean face. `vary` moves each seed by a small random step of that
    size (0: not), drawn from `vary_seed`."""

    seeds: Annotated[tuple[Seed, ...], Meta(min_length=1, max_length=MAX_PORTRAITS)]
    attributes: dict[str, str] = {}
    truncation: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.8
    vary: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.0
    vary_seed: Annotated[str, Meta(max_length=MAX_SEED_CHARS)] = ""


class Morph(Struct, frozen=True, kw_only=True, tag="morph_output"):
    """An animated GIF from one face to the other and back; `child` is the middle, a PNG."""

    gif: bytes
    child: bytes
    attributes: dict[str, str]
    model_version: str


class Look(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was asked of a face beside its seed, as in `PortraitRequest`. `truncation` None: as the whole morph's."""

    attributes: dict[str, str] = {}
    truncation: Annotated[float, Meta(ge=0.0, le=1.0)] | None = None
    vary: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.0
    vary_seed: Annotated[str, Meta(max_length=MAX_SEED_CHARS)] = ""


class MorphRequest(ShortRequest[Morph], frozen=True, kw_only=True, tag="morph"):
    """Spherical interpolation between two seeds; with their looks, between the very faces that portraits showed."""

    start: Seed
    end: Seed
    start_look: Look = Look()
    end_look: Look = Look()
    frames: Annotated[int, Meta(ge=2, le=MAX_MORPH_FRAMES)] = 24
    truncation: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.8


GeneratorKind = Literal["likelihood", "adversarial"]
VerseForm = Literal["en", "zh5", "zh7"]


class Verse(Struct, frozen=True, kw_only=True, tag="verse_output"):
    """`generator` and `temperature` are those that wrote it, also where the request left them open."""

    lines: tuple[str, ...]
    generator: GeneratorKind
    temperature: float
    model_version: str


class VerseRequest(ShortRequest[Verse], frozen=True, kw_only=True, tag="verse"):
    """Lines of verse from a seed (any words): English, or Chinese of five or seven characters. `begin` are words that
    the first line begins with; a character that the model doesn't know refuses the request. `generator` "default" is
    whichever of the two is better on the quality-diversity curve (docs/verse.md), `temperature` None that generator's
    own. Fewer lines are the beginning of more."""

    form: VerseForm = "en"
    seed: Seed
    lines: Annotated[int, Meta(ge=1, le=MAX_VERSE_LINES)] = 4
    begin: Annotated[str, Meta(max_length=MAX_OPENING_CHARS)] = ""
    temperature: Annotated[float, Meta(ge=0.1, le=2.0)] | None = None
    generator: Literal["default", "likelihood", "adversarial"] = "default"


# "asleep": nobody asked yet, or for a long time; it wakes with the next request.
ShortState = Literal["asleep", "starting", "ready", "restarting", "failed", "stopped"]


class ShortHealth(Struct, frozen=True, kw_only=True):
    """The process of the small models as an operator sees it. `models` are the versions that are loaded; `dropped`
    counts background requests for which there was no room, `failed` every other request without an answer."""

    state: ShortState
    pid: int | None = None
    models: tuple[str, ...] = ()
    waiting: int = 0
    running: int = 0
    restarts: int = 0
    resident_bytes: int = 0
    answered: int = 0
    failed: int = 0
    dropped: int = 0
    error: str = ""


AnyShortRequest = MoodRequest | PortraitRequest | MorphRequest | VerseRequest
AnyShortOutput = Mood | Portraits | Morph | Verse
