"""From a story request to the body of an OpenAI-compatible call. Knows the servers' dialects, no network and no model.

None of these servers lends its tokenizer through this interface, so lengths are estimated, and generously: a story that
is cut a little early continues well, one that overflows the context is refused by the server.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Literal

from models.language.chat_template import RAW, recognise
from models.language.continuation import ASK, ASK_ZH, SYSTEM, build_prompt, clean, is_chinese
from models.serving.requests import StoryRequest

Style = Literal["completions", "chat", "prefill"]
Dialect = Literal["auto", "openai", "vllm", "llama_cpp", "transformers"]

MAX_STOPS_SENT = 4  # what OpenAI's interface allows; the rest is found in the text as it arrives
CONTINUE = "Continue this story where it breaks off. Write only what comes next, without repeating any of it."
CONTINUE_ZH = "从这个故事中断的地方继续写下去。只写接下来的内容，不要重复已有的文字。"
_WIDE = re.compile(r"[\u1100-\u11ff\u2e80-\ua4cf\uac00-\ud7af\uf900-\ufaff\U0001f000-\U0003ffff]")


@dataclass(frozen=True, kw_only=True)
class Dialogue:
    """How a server wants to be asked.

    `style`: "completions" sends the whole prompt as text (for base models, and for chat models of a known family);
    "prefill" lays the story into the model's own unfinished turn; "chat" asks for a continuation in words, which every
    chat server understands and which stays least in the story's voice. `dialect` "auto" asks the server which one it
    is, and is plain OpenAI where it doesn't tell. `context_tokens` is the server's window.
    """

    model: str
    style: Style = "chat"
    dialect: Dialect = "openai"
    context_tokens: int = 4096


def estimated_tokens(text: str) -> int:
    """A generous guess: two for a wide character, one for every three others."""
    wide = len(_WIDE.findall(text))
    return 2 * wide + (len(text) - wide + 2) // 3


def call_for(request: StoryRequest, dialogue: Dialogue) -> dict[str, Any]:
    """Keyword arguments of `chat.completions.create` or, in the style "completions", of `completions.create`. Raises
    ValueError for a request that leaves no room for the story."""
    sampling = request.sampling
    call: dict[str, Any] = {
        "model": dialogue.model,
        "max_tokens": sampling.max_new_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed,
        "stream": True,
        "extra_body": _extras(request, dialogue),
    }
    if sampling.stop:
        call["stop"] = list(sampling.stop[:MAX_STOPS_SENT])
    if dialogue.dialect != "transformers":
        call["stream_options"] = {"include_usage": True}
    if dialogue.style == "completions":
        template = recognise(None, dialogue.model)
        call["prompt"] = build_prompt(request, estimated_tokens, dialogue.context_tokens, template)
    else:
        call["messages"] = _messages(request, dialogue)
    return call


def _messages(request: StoryRequest, dialogue: Dialogue) -> list[dict[str, str]]:
    english, chinese = (ASK, ASK_ZH) if dialogue.style == "prefill" else (CONTINUE, CONTINUE_ZH)
    ask = chinese if is_chinese(request.story) else english
    direction = clean(request.direction, RAW).strip()
    words = f"{ask}\n{direction}" if direction else ask
    story = _fitted(request, dialogue.context_tokens - estimated_tokens(SYSTEM + words))
    system = {"role": "system", "content": SYSTEM}
    if dialogue.style == "prefill":
        return [system, {"role": "user", "content": words}, {"role": "assistant", "content": story}]
    return [system, {"role": "user", "content": f"{words}\n\n{story}"}]


def _fitted(request: StoryRequest, room: int) -> str:
    """The story, cut to `room` tokens less what is to be generated."""
    return build_prompt(request, estimated_tokens, room, RAW)


def _extras(request: StoryRequest, dialogue: Dialogue) -> dict[str, Any]:
    """Sampling beyond OpenAI's own interface, in the words of the server that is asked."""
    sampling = request.sampling
    filters: dict[str, Any] = {"top_k": sampling.top_k, "min_p": sampling.min_p}
    match dialogue.dialect:
        case "openai" | "auto":
            return {}
        case "vllm":
            extras = filters | {"repetition_penalty": sampling.repetition_penalty}
            if dialogue.style == "prefill":
                extras |= {"continue_final_message": True, "add_generation_prompt": False}
            return extras
        case "llama_cpp":
            return filters | {"repeat_penalty": sampling.repetition_penalty, "repeat_last_n": 256, "cache_prompt": True}
        case "transformers":
            return {"generation_config": _generation_config(request)}


def _generation_config(request: StoryRequest) -> str:
    """`transformers serve` takes these from a generation config in JSON; temperature and top_p it reads beside it."""
    sampling = request.sampling
    config: dict[str, Any] = {
        "do_sample": sampling.temperature > 0,
        "repetition_penalty": sampling.repetition_penalty,
        "min_p": sampling.min_p or None,
        "top_k": sampling.top_k or None,
    }
    return json.dumps({name: value for name, value in config.items() if value is not None})
