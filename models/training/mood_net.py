"""The encoder in torch, for tuning only: a BERT of multilingual-e5-small's shape with two heads of mood for each
language. Knows no data; `models.sentiment.encoder` is the same network without torch."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 the name that torch's own documentation uses

from models.sentiment.encoder_weights import EncoderWeights, Shape
from models.training.e5_package import E5

LANGUAGES = ("en", "zh")
TYPE_ROW = 0  # every token is of the first segment


class Layer(nn.Module):
    """Attention and feed-forward, each followed by a LayerNorm over the sum (BERT, Devlin et al. 2019)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        hidden = shape.hidden
        self.heads = shape.heads
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.out = nn.Linear(hidden, hidden)
        self.attention_norm = nn.LayerNorm(hidden, eps=shape.epsilon)
        self.up = nn.Linear(hidden, shape.feed_forward)
        self.down = nn.Linear(shape.feed_forward, hidden)
        self.norm = nn.LayerNorm(hidden, eps=shape.epsilon)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        batch, length, hidden = x.shape
        qkv = self.qkv(x).view(batch, length, 3, self.heads, hidden // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], attn_mask=mask)
        x = self.attention_norm(x + self.dropout(self.out(mixed.transpose(1, 2).reshape(batch, length, hidden))))
        found: Tensor = self.norm(x + self.dropout(self.down(F.gelu(self.up(x)))))
        return found


class MoodNet(nn.Module):
    """Token ids (batch, length), 1 = <pad>, to logits (batch, languages, 2): of "polar" against neutral, of positive
    against negative."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.word = nn.Embedding(shape.vocabulary, shape.hidden)
        self.position = nn.Embedding(shape.positions, shape.hidden)
        self.embedding_norm = nn.LayerNorm(shape.hidden, eps=shape.epsilon)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.head = nn.Linear(shape.hidden, 2 * len(LANGUAGES))

    def lower(self, ids: Tensor, layers: int) -> Tensor:
        """What stays frozen: embeddings and the first `layers`."""
        x: Tensor = self.embedding_norm(self.word(ids) + self.position.weight[: ids.shape[1]])
        mask = (ids != 1)[:, None, None, :]
        for layer in self.layers[:layers]:
            x = layer(x, mask)
        return x

    def upper(self, x: Tensor, ids: Tensor, layers: int) -> Tensor:
        mask = (ids != 1)[:, None, None, :]
        for layer in self.layers[layers:]:
            x = layer(x, mask)
        weight = (ids != 1).unsqueeze(-1).to(x.dtype)
        pooled = (x * weight).sum(1) / weight.sum(1)  # (batch, hidden): mean over real tokens
        logits: Tensor = self.head(pooled.float()).view(-1, len(LANGUAGES), 2)
        return logits

    def forward(self, ids: Tensor) -> Tensor:
        return self.upper(self.lower(ids, 0), ids, 0)


def from_e5(e5: E5, pieces: list[int]) -> MoodNet:
    """The net with the package's weights, the vocabulary cut to `pieces`; the heads are zero."""
    shape = Shape(
        vocabulary=len(pieces), hidden=e5.hidden, layers=e5.layers, heads=e5.heads, feed_forward=e5.feed_forward,
        positions=e5.positions, epsilon=e5.epsilon,
    )  # fmt: skip
    net = MoodNet(shape)
    t = {name: torch.from_numpy(value.copy()) for name, value in e5.tensors.items()}
    state: dict[str, Tensor] = {
        "word.weight": t["emb.word"][pieces],
        "position.weight": t["emb.pos"] + t["emb.type"].view(-1, e5.hidden)[TYPE_ROW],
        "embedding_norm.weight": t["emb.ln.w"],
        "embedding_norm.bias": t["emb.ln.b"],
        "head.weight": torch.zeros_like(net.head.weight),
        "head.bias": torch.zeros_like(net.head.bias),
    }
    names = {"out": "ao", "attention_norm": "aln", "up": "fi", "down": "fo", "norm": "oln"}
    for n in range(e5.layers):
        for kind, short in (("weight", "w"), ("bias", "b")):
            state[f"layers.{n}.qkv.{kind}"] = torch.cat([t[f"l{n}.{name}.{short}"] for name in "qkv"])
            for ours, theirs in names.items():
                state[f"layers.{n}.{ours}.{kind}"] = t[f"l{n}.{theirs}.{short}"]
    net.load_state_dict(state)
    return net


def from_weights(weights: EncoderWeights) -> MoodNet:
    """The net that an exported encoder describes, heads included, as exactly as its int8 lets it."""
    net = MoodNet(weights.shape)
    state = {f"{name}.weight": torch.from_numpy(matrix.floats()) for name, matrix in weights.matrices.items()}
    net.load_state_dict(state | {name: torch.from_numpy(value) for name, value in weights.vectors.items()})
    return net
