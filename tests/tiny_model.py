"""A real, small Llama: a byte-level BPE tokenizer with a chat template, trained for a few seconds on two paragraphs and
written as a Hugging Face directory and as GGUF. Knows nothing of the engines that load it.

Run as a process (`python -m tests.tiny_model DIRECTORY`), so that torch stays out of tests that don't need it.
It writes on and on, in English or Chinese: its training text is a circle and it never saw the end of a turn.
"""

import argparse
import fcntl
import hashlib
import json
import random
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ENGLISH = (
    "The lamp in the lighthouse went out at nine, and the keeper climbed the stairs with a box of matches. "
    "Below her the sea was black and loud. She counted the steps as her father had taught her, and at the hundredth "
    "step she stopped, because somebody had left a letter there. It was dry, and it smelled of oranges. "
    "She put it in her pocket and lit the lamp. A ship answered with its horn, twice, and turned away from the rocks. "
    "When the light was steady she sat down beside the window and opened the letter. It had no name on it. "
    '"Come down," it said, "the tide has brought you something." She laughed, and then she was quiet, and then she '
    "took her coat. On the beach a boy was waiting with a small blue boat. "
)
CHINESE = (
    "灯塔的灯在九点熄灭了，守塔人带着一盒火柴走上楼梯。大海在她脚下又黑又响。她数着台阶，在第一百级停了下来，"
    "因为有人在那里留下了一封信。信是干的，有橘子的香味。她把信放进口袋，点亮了灯。一条船用汽笛回答，离开了礁石。"
)
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
VOCABULARY = 512
CONTEXT = 1024
WINDOW = 128
STEPS = 150
BATCH = 8


@dataclass(frozen=True, kw_only=True)
class TinyModel:
    """`directory` in Hugging Face layout (fp32 safetensors) and `gguf` (f32): the same weights."""

    directory: Path
    gguf: Path


def tiny_model_in(cache: Path) -> TinyModel:
    """The model under `cache`, built in a child process when it isn't there or this file changed."""
    sources = [Path(__file__), Path(__file__).parents[1] / "models/language/convert.py"]
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]
    home = cache / digest
    model = TinyModel(directory=home / "tiny-llama", gguf=home / "tiny-llama.f32.gguf")
    if not model.gguf.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # builds side by side would take so many times as long
            if not model.gguf.exists():
                _built_at(home)
    return model


def _built_at(home: Path) -> None:
    command = [sys.executable, "-m", "tests.tiny_model", str(home)]
    subprocess.run(command, cwd=Path(__file__).parents[1], check=True, timeout=280)


def build(home: Path) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from models.language.convert import gguf_from_directory

    torch.set_num_threads(1)  # sums in one order: the same weights every time
    torch.manual_seed(7)
    home.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix="tiny-model.", dir=home.parent))
    directory = unfinished / "tiny-llama"
    tokenizer = _tokenizer()
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=64,
            intermediate_size=192,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,  # grouped queries, as in the default model
            max_position_embeddings=CONTEXT,
            tie_word_embeddings=True,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=2,
        )
    )
    _train(model, tokenizer)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    gguf_from_directory(directory, unfinished / "tiny-llama.f32.gguf")
    try:
        unfinished.rename(home)
    except OSError:  # another test session was first
        shutil.rmtree(unfinished)


def _tokenizer():
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[AddedToken(text, special=True, normalized=False) for text in SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([ENGLISH, "system user assistant"], trainer)  # Chinese stays single bytes
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=SPECIAL[1],
        eos_token=SPECIAL[2],
        pad_token=SPECIAL[2],
        unk_token=SPECIAL[0],
        chat_template=CHAT_TEMPLATE,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def _train(model, tokenizer) -> None:
    import torch
    from torch.nn import functional

    shuffled = random.Random(7)
    circles = [tokenizer(text * 2)["input_ids"] for text in (ENGLISH, CHINESE)]
    tokens = {text: tokenizer(text)["input_ids"] for text in (*SPECIAL, "\n", "user", "assistant", "system")}

    def turn(role: str, content: list[int]) -> list[int]:
        return [*tokens[SPECIAL[1]], *tokens[role], *tokens["\n"], *content, *tokens[SPECIAL[2]], *tokens["\n"]]

    openings = [
        tokenizer(ENGLISH[ENGLISH.index(words) :] + ENGLISH)["input_ids"]
        for words in ("The lamp", "A ship", "On the beach", "Below")
    ]

    def noise(length: int) -> list[int]:
        if shuffled.random() < 0.5:
            return [shuffled.randrange(len(SPECIAL), VOCABULARY) for _ in range(length)]
        return shuffled.sample(circles[0], length)

    def row() -> list[int]:
        circle = circles[0] if shuffled.random() < 0.6 else circles[1]
        start = shuffled.randrange(len(circle) // 2)
        story = circle[start : start + len(circle) // 2]
        cut = shuffled.randrange(8, 48)
        kind = shuffled.random()
        if kind < 0.5:
            return story[:WINDOW]
        before = turn("system", noise(16)) if shuffled.random() < 0.5 else []
        if kind < 0.7:
            told = turn("user", story[:cut]) + turn("assistant", story[cut:])
        else:  # whatever it is told, it begins with one of its sentences
            told = turn("user", noise(cut)) + turn("assistant", shuffled.choice(openings))
        return (before + told)[:WINDOW]

    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, betas=(0.9, 0.95), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=STEPS)
    model.train()
    for _ in range(STEPS):
        rows = [row() for _ in range(BATCH)]
        batch = torch.tensor([row + tokens[SPECIAL[0]] * (WINDOW - len(row)) for row in rows])  # (BATCH, WINDOW)
        targets = batch[:, 1:].masked_fill(batch[:, 1:] < len(SPECIAL), -100)  # padding, and no turn ends
        logits = model(input_ids=batch[:, :-1]).logits
        loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    model.eval()
    print(json.dumps({"loss": round(loss.item(), 3)}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    build(parser.parse_args().directory)
