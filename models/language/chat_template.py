"""How a model family marks turns, and how text is kept from passing for such marks. Knows no tokenizer, no model."""

import re
import unicodedata
from dataclasses import dataclass, replace

# Kept although Unicode calls them format characters: they join emoji and shape Persian and Indic words.
_JOINERS = "\u200c\u200d"
_ANGLE_MARKER = re.compile(r"<(?=[|｜])")  # "<|im_end|>" and relatives; DeepSeek writes a full-width bar


@dataclass(frozen=True, kw_only=True)
class ChatTemplate:
    """Turn marks of one family. `turn` has the fields {role} and {text}; a family without a system role leaves `system`
    empty and its system line is put in front of the user's. `open_turn` begins the model's own turn, which
    `build_prompt` fills with the story. `markers` are the strings that the tokenizer reads as control tokens.
    """

    name: str
    turn: str
    open_turn: str
    system: str = "system"
    user: str = "user"
    begin: str = ""
    markers: tuple[str, ...] = ()

    def with_markers(self, markers: tuple[str, ...]) -> "ChatTemplate":
        """The same template, knowing also the control tokens that a model's file names."""
        return replace(self, markers=tuple(dict.fromkeys((*self.markers, *markers))))

    def head(self, system: str, ask: str) -> str:
        """Everything before the story. Texts must be clean (see `clean`)."""
        if not self.turn:
            return ""
        if not self.system:
            return self.begin + self.turn.format(role=self.user, text=f"{system}\n\n{ask}") + self.open_turn
        turns = self.turn.format(role=self.system, text=system) + self.turn.format(role=self.user, text=ask)
        return self.begin + turns + self.open_turn


CHATML = ChatTemplate(
    name="chatml",
    turn="<|im_start|>{role}\n{text}<|im_end|>\n",
    open_turn="<|im_start|>assistant\n",
    markers=("<|im_start|>", "<|im_end|>", "<|endoftext|>"),
)
GEMMA = ChatTemplate(
    name="gemma",
    turn="<start_of_turn>{role}\n{text}<end_of_turn>\n",
    open_turn="<start_of_turn>model\n",
    system="",
    markers=("<start_of_turn>", "<end_of_turn>", "<bos>", "<eos>"),
)
LLAMA3 = ChatTemplate(
    name="llama3",
    turn="<|start_header_id|>{role}<|end_header_id|>\n\n{text}<|eot_id|>",
    open_turn="<|start_header_id|>assistant<|end_header_id|>\n\n",
    markers=("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|begin_of_text|>", "<|end_of_text|>"),
)
# A base model: nothing but the story, which it goes on with by nature.
RAW = ChatTemplate(name="raw", turn="", open_turn="", markers=("<|endoftext|>", "<s>", "</s>"))

_FAMILIES = (CHATML, GEMMA, LLAMA3)


def recognise(jinja: str | None, name: str) -> ChatTemplate:
    """The family of a model from the chat template in its metadata or, without one, from its name; `RAW` for a base
    model or a family unknown here."""
    if jinja:
        found = (family for family in _FAMILIES if family.markers[0] in jinja)
        return next(found, RAW)
    lowered = name.lower()
    if not re.search(r"instruct|chat|-it\b|\bit-", lowered):
        return RAW
    for part, family in (
        ("gemma", GEMMA),
        ("llama-3", LLAMA3),
        ("llama3", LLAMA3),
        ("smollm", CHATML),
        ("qwen", CHATML),
    ):
        if part in lowered:
            return family
    return RAW


def clean(text: str, template: ChatTemplate) -> str:
    """`text` as data: without control, zero-width and direction characters and lone surrogates, line ends as "\\n", and
    with every turn mark broken up by a space so that no tokenizer reads a control token out of it."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n").replace("\u2029", "\n\n")
    text = "".join(character for character in text if _is_text(character))
    text = _ANGLE_MARKER.sub("< ", text)
    for marker in template.markers:
        if len(marker) > 1:
            text = text.replace(marker, f"{marker[0]} {marker[1:]}")
    return text


def _is_text(character: str) -> bool:
    if character in "\n\t" or character in _JOINERS or "\U000e0020" <= character <= "\U000e007f":
        return True  # the last range spells the flags of England, Scotland and Wales
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Cn", "Co")
