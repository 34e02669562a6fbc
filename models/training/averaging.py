"""The average of two networks of the same run or one that went on from the other. Knows no data.

Weights that were trained on from the same point often predict better when averaged than either end (Wortsman et al.
2022, "Model soups"): so is what a short second stage learned kept without what its raised learning rate undid.
"""

from models.language.gpt import GPT


def average(one: GPT, other: GPT, share: float) -> GPT:
    """`one` with `share` of its weights taken from `other`; `one` is changed. Raises ValueError when they are of
    different shapes or tokenizers."""
    if one.tokenizer.get_vocab() != other.tokenizer.get_vocab():
        raise ValueError("the two networks have different tokenizers")
    weights, others = one.model.state_dict(), other.model.state_dict()
    if {name: weight.shape for name, weight in weights.items()} != {n: w.shape for n, w in others.items()}:
        raise ValueError("the two networks have different shapes")
    one.model.load_state_dict({name: weight.lerp(others[name], share) for name, weight in weights.items()})
    return one
