"""Tunes the encoder on labelled moods of both languages at once. Knows no Discord and no serving.

Embeddings and the layers that the recipe freezes stay as they were: what isn't tuned needs no gradient. Batches
are of about as many tokens, not rows; every 1,024 rows have the same share of every set, in an order that only the seed
decides, so a run that was stopped goes on with the rows that it would have had. The learning rate falls to zero at the
end of a time budget, for the run shares its machine, or after so many steps, where weights must not depend on that.
"""

import json
import math
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 the name that torch's own documentation uses
from torch.nn.attention import SDPBackend, sdpa_kernel

from models.sentiment.encoder_weights import Shape, load
from models.training.e5_package import read_e5
from models.training.mood_corpus import LABELS, Row
from models.training.mood_net import LANGUAGES, MoodNet, from_e5, from_weights
from models.training.mood_vocabulary import build_tokenizer, chosen_pieces

_ROUND = 1024  # rows drawn at once, sorted by length within
PAD = 1
# Rows of each set in a round. Tweets and Weibo posts know "neutral", chat lines are what is read, reviews are many.
SHARES = {
    "semeval": 230, "goemotions": 100, "sst2": 300, "tweeteval_emotion": 14, "smp2020": 110, "chnsenticorp": 80,
    "chnsenticorp_htl": 20, "waimai_10k": 70, "online_shopping_10_cats": 60, "cped": 8, "chat_lines": 130,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Recipe:
    minutes: float = 60.0  # of wall time, over all its parts
    steps: int = 0  # where given, these end the run in place of `minutes`
    seed: int = 1
    frozen_layers: int = 0
    frozen_embeddings: bool = False  # only with no frozen layers: a gradient passes every layer on its way down
    most_tokens: int = 128  # of a training row; the model itself reads 512
    batch_tokens: int = 1024
    rate: float = 2e-4
    head_rate: float = 1e-3
    layer_decay: float = 0.9
    weight_decay: float = 0.01
    warm_up: float = 0.04
    least_count: int = 3  # of a piece in the training rows, to stay in the vocabulary
    most_pieces: int = 36_000
    shares: dict[str, int] = field(default_factory=lambda: dict(SHARES))
    consistency: float = 0.0  # weight of the divergence between two passes of a row (`consistency_loss`); 0: one pass
    # Part of the encoder that it began with in the one that is saved, where that was tuned before: what a run forgets
    # of the sets that it sees less comes back, and what it learned mostly stays (WiSE-FT, Wortsman et al. 2022).
    kept: float = 0.4
    bf16: bool = True  # arithmetic only; slower than fp32 on a processor that has no bf16 of its own


def rounds(sizes: dict[str, int], shares: dict[str, int], seed: int, start: int = 0) -> Iterator[dict[str, list[int]]]:
    """For each round from `start` on, which rows of each set: its rows in a shuffled order, again and again."""
    orders: dict[tuple[str, int], list[int]] = {}
    number = start
    while True:
        chosen: dict[str, list[int]] = {}
        for name, share in shares.items():
            size = sizes.get(name, 0)
            picked: list[int] = []
            for n in range(number * share, (number + 1) * share if size else 0):
                epoch, place = divmod(n, size)
                if (name, epoch) not in orders:
                    orders[name, epoch] = random.Random(f"{seed}:{name}:{epoch}").sample(range(size), size)
                picked.append(orders[name, epoch][place])
            chosen[name] = picked
        yield chosen
        number += 1


def batches(lengths: list[int], batch_tokens: int, generator: random.Random) -> list[list[int]]:
    """Indices into `lengths` in batches whose padded size is at most `batch_tokens` (or one row), in random order."""
    order = sorted(range(len(lengths)), key=lambda n: lengths[n])
    found: list[list[int]] = []
    current: list[int] = []
    for n in order:
        if current and lengths[n] * (len(current) + 1) > batch_tokens:
            found.append(current)
            current = []
        current.append(n)
    if current:
        found.append(current)
    generator.shuffle(found)
    return found


def mood_loss(logits: Tensor, labels: Tensor, languages: Tensor, three: Tensor) -> Tensor:
    """Two binary cross-entropies of each row's own language: polar against neutral where its corpus knows neutral
    (`three`), positive against negative where it isn't neutral. `labels`: 0, 1, 2 as LABELS."""
    own = logits[torch.arange(len(labels)), languages]  # (batch, 2)
    polar = labels != LABELS.index("neutral")
    stage_1 = F.binary_cross_entropy_with_logits(own[:, 0], polar.float(), reduction="none") * three
    stage_2 = F.binary_cross_entropy_with_logits(own[:, 1], (labels == 2).float(), reduction="none") * polar
    return (stage_1.sum() + stage_2.sum()) / (three.sum() + polar.sum()).clamp(min=1)


def consistency_loss(first: Tensor, second: Tensor, languages: Tensor) -> Tensor:
    """R-Drop (Liang et al. 2021, eq. 2): the mean over both directions, both decisions of a row's own language and all
    rows of the Kullback-Leibler divergence, in nats, between two passes of the same rows with other dropout. `first`
    and `second`: logits (batch, languages, 2)."""
    rows = torch.arange(len(languages))
    one, two = first[rows, languages], second[rows, languages]  # (batch, 2)
    # Of two Bernoullis with logits a and b, KL(a|b) + KL(b|a) = (sigmoid(a) - sigmoid(b)) (a - b).
    return ((torch.sigmoid(one) - torch.sigmoid(two)) * (one - two)).mean() / 2


def padded(ids: list[list[int]]) -> Tensor:
    longest = max(map(len, ids))
    return torch.tensor([row + [PAD] * (longest - len(row)) for row in ids])


@dataclass
class _Progress:
    round: int = 0
    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0


def train(recipe: Recipe, rows: list[Row], start: Path, out: Path) -> Path:
    """Tune until the recipe's time is over; goes on where an earlier call in `out` was. Returns the weights' file.
    `start` is the package's file of e5, or a folder with an exported encoder, whose vocabulary then stays."""
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    trained = [row for row in rows if row.part == "train" and recipe.shares.get(row.source)]
    net, tokenizer = _prepared(recipe, trained, start, out)
    by_source = {name: [row for row in trained if row.source == name] for name in recipe.shares}
    held = _held(rows, tokenizer)
    parameters = _groups(net, recipe)
    optimizer = torch.optim.AdamW(parameters, betas=(0.9, 0.98), weight_decay=recipe.weight_decay, fused=True)
    progress = _resume(net, optimizer, out)
    log = (out / "log.txt").open("a", encoding="utf-8")
    began, cpu_began = time.time() - progress.seconds, time.process_time() - progress.cpu_seconds
    saved = time.time()

    def part_done() -> float:
        return progress.step / recipe.steps if recipe.steps else (time.time() - began) / (recipe.minutes * 60)

    mean = math.nan
    for chosen in rounds({name: len(found) for name, found in by_source.items()}, recipe.shares, recipe.seed,
                         progress.round):  # fmt: skip
        drawn = [by_source[name][n] for name, picked in chosen.items() for n in picked]
        ids = [row[: recipe.most_tokens] for row in _encoded(tokenizer, drawn)]
        for picked in batches([len(row) for row in ids], recipe.batch_tokens, random.Random(progress.round)):
            done = part_done()
            if done >= 1:
                break
            factor = min(1.0, done / recipe.warm_up) * (1 - done)
            for group in optimizer.param_groups:
                group["lr"] = group["base"] * factor
            batch = padded([ids[n] for n in picked])
            loss = _step(net, optimizer, recipe, batch, [drawn[n] for n in picked])
            mean = loss if math.isnan(mean) else 0.98 * mean + 0.02 * loss
            progress.step += 1
            progress.tokens += batch.numel()
        progress.round += 1
        progress.seconds, progress.cpu_seconds = time.time() - began, time.process_time() - cpu_began
        over = part_done() >= 1
        measures = _measure(net, held, bf16=recipe.bf16) if over or progress.round % 12 == 0 else {}
        log.write(json.dumps({**asdict(progress), "loss": round(mean, 4), **measures}) + "\n")
        log.flush()
        if over or time.time() - saved > 120:
            _save(net, optimizer, progress, out)
            saved = time.time()
        if over:
            break
    log.close()
    state = net.state_dict()
    if start.is_dir() and recipe.kept:  # the log's last measures are of the weights before this
        before = from_weights(load(start / "encoder.safetensors")).state_dict()
        state = {name: torch.lerp(value, before[name], recipe.kept) for name, value in state.items()}
    save_file(state, out / "net.safetensors")
    return out / "net.safetensors"


def _prepared(recipe: Recipe, trained: list[Row], start: Path, out: Path) -> tuple[MoodNet, Tokenizer]:
    if start.is_dir():
        net = from_weights(load(start / "encoder.safetensors"))
        tokenizer = Tokenizer.from_file(str(start / "tokenizer.json"))
        (out / "recipe.json").write_text(json.dumps(asdict(recipe)))
    else:
        net, tokenizer = _cut_e5(recipe, trained, start, out)
    tokenizer.save(str(out / "tokenizer.json"), pretty=False)
    (out / "shape.json").write_text(json.dumps(asdict(net.shape)))
    return net, tokenizer


def _cut_e5(recipe: Recipe, trained: list[Row], e5_file: Path, out: Path) -> tuple[MoodNet, Tokenizer]:
    e5 = read_e5(e5_file)
    if not (out / "pieces.json").exists():
        whole = build_tokenizer(e5.pieces, e5.scores)
        texts = (row.text for row in trained)
        pieces = chosen_pieces(whole, texts, least_count=recipe.least_count, most=recipe.most_pieces)
        (out / "pieces.json").write_text(json.dumps(pieces))
        (out / "recipe.json").write_text(json.dumps(asdict(recipe)))
    pieces = json.loads((out / "pieces.json").read_text())
    tokenizer = build_tokenizer([e5.pieces[n] for n in pieces], [e5.scores[n] for n in pieces])
    return from_e5(e5, pieces), tokenizer


def load_net(folder: Path) -> MoodNet:
    """What `train` left in `folder`."""
    net = MoodNet(Shape(**json.loads((folder / "shape.json").read_text())))
    net.load_state_dict(load_file(folder / "net.safetensors"))
    return net.eval()


def _groups(net: MoodNet, recipe: Recipe) -> list[dict[str, object]]:
    """Parameters with their highest rate: a layer below learns less."""
    net.requires_grad_(False)
    net.head.requires_grad_(True)
    groups: list[dict[str, object]] = [{"params": list(net.head.parameters()), "base": recipe.head_rate}]
    for depth, layer in enumerate(reversed(list(net.layers)[recipe.frozen_layers :])):
        layer.requires_grad_(True)
        groups.append({"params": list(layer.parameters()), "base": recipe.rate * recipe.layer_decay**depth})
    if not recipe.frozen_layers and not recipe.frozen_embeddings:
        embeddings = [*net.word.parameters(), *net.position.parameters(), *net.embedding_norm.parameters()]
        for parameter in embeddings:
            parameter.requires_grad_(True)
        groups.append({"params": embeddings, "base": recipe.rate * recipe.layer_decay ** len(net.layers)})
    return groups


def _encoded(tokenizer: Tokenizer, rows: list[Row]) -> list[list[int]]:
    return [found.ids for found in tokenizer.encode_batch_fast([row.text for row in rows])]


def _tensors(rows: list[Row]) -> tuple[Tensor, Tensor, Tensor]:
    labels = torch.tensor([LABELS.index(row.label) for row in rows])
    languages = torch.tensor([LANGUAGES.index(row.language) for row in rows])
    return labels, languages, torch.tensor([float(row.classes == 3) for row in rows])


def _step(net: MoodNet, optimizer: torch.optim.Optimizer, recipe: Recipe, ids: Tensor, rows: list[Row]) -> float:
    net.train()
    net.layers[: recipe.frozen_layers].eval()
    # On rows of some thirty tokens the fused attention's backward pass is slow: plain products are a quarter faster.
    attention = sdpa_kernel(SDPBackend.MATH)
    passes = 2 if recipe.consistency else 1
    ids = ids.repeat(passes, 1)
    with attention, torch.autocast("cpu", dtype=torch.bfloat16, enabled=recipe.bf16):
        with torch.set_grad_enabled(net.word.weight.requires_grad):
            lower = net.lower(ids, recipe.frozen_layers)
        logits = net.upper(lower, ids, recipe.frozen_layers)
    labels, languages, three = _tensors(rows)
    found = logits.float().chunk(passes)
    loss = torch.stack([mood_loss(one, labels, languages, three) for one in found]).mean()
    if recipe.consistency:
        loss = loss + recipe.consistency * consistency_loss(found[0], found[1], languages)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_([p for p in net.parameters() if p.requires_grad], 1.0)
    optimizer.step()
    return loss.item()


def _held(rows: list[Row], tokenizer: Tokenizer, most: int = 70) -> dict[str, tuple[list[list[int]], list[Row]]]:
    """A few calibration rows of each set, to watch the run by; development rows are only reported on."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row.part == "calibration" and len(found.setdefault(row.source, [])) < most:
            found[row.source].append(row)
    return {name: ([ids[:96] for ids in _encoded(tokenizer, some)], some) for name, some in found.items()}


@torch.no_grad()
def _measure(net: MoodNet, held: dict[str, tuple[list[list[int]], list[Row]]], *, bf16: bool) -> dict[str, float]:
    """Macro-recall over the classes of each set."""
    net.eval()
    measures = {}
    for name, (ids, rows) in held.items():
        predicted = np.zeros(len(rows), int)
        for picked in batches([len(row) for row in ids], 2048, random.Random(0)):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
                logits = net(padded([ids[n] for n in picked])).float()
            _, languages, three = _tensors([rows[n] for n in picked])
            own = logits[torch.arange(len(picked)), languages]
            polar = torch.sigmoid(own[:, 0]).where(three > 0, torch.ones(()))
            positive = torch.sigmoid(own[:, 1])
            stacked = torch.stack([polar * (1 - positive), 1 - polar, polar * positive], 1)
            predicted[picked] = stacked.argmax(1).numpy()
        labels = np.array([LABELS.index(row.label) for row in rows])
        recalls = [float((predicted[labels == c] == c).mean()) for c in range(3) if (labels == c).any()]
        measures[name] = round(sum(recalls) / len(recalls), 3)
    return measures


def _save(net: MoodNet, optimizer: torch.optim.Optimizer, progress: _Progress, out: Path) -> None:
    tensors = {f"net.{name}": p.detach() for name, p in net.named_parameters() if p.requires_grad}
    for n, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{n}.{name}": value for name, value in state.items()}
    temporary = out / "checkpoint.tmp"
    save_file(tensors, temporary, {"progress": json.dumps(asdict(progress))})
    temporary.replace(out / "checkpoint.safetensors")


def _resume(net: MoodNet, optimizer: torch.optim.Optimizer, out: Path) -> _Progress:
    path = out / "checkpoint.safetensors"
    if not path.exists():
        return _Progress()
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        progress = _Progress(**json.loads(file.metadata()["progress"]))
    tensors = load_file(path)
    state = optimizer.state_dict()
    for name, value in tensors.items():
        kind, rest = name.split(".", 1)
        if kind == "optimizer":
            number, key = rest.split(".")
            state["state"].setdefault(int(number), {})[key] = value
    optimizer.load_state_dict(state)
    net.load_state_dict({n.removeprefix("net."): v for n, v in tensors.items() if n.startswith("net.")}, strict=False)
    return progress
