"""What is served is what was trained: the next token's probabilities of a merged GGUF file are those of peft, with the
adapter beside the weights as a training run has it. llama.cpp keeps its cache in fp16, and in Q8_0 rounds weights and
activations to 8 bits: hence the tolerances, measured and then doubled.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.language.adapter_merge import merge
from models.language.adapters import SHIPPED, Adapter, read_adapter
from models.language.weights import LocalModel
from tests.test_language_convert import STORIES, llama_cpp
from tests.tiny_adapter import tiny_adapter_in
from tests.tiny_model import TinyModel

# In fp32, over the whole vocabulary: measured at most 0.008 (of log-probabilities) and 2.2e-6 nats.
FP32_LOG_PROBABILITY, FP32_KL_NATS = 0.016, 4.4e-6
# The default model: Q4_1 with the adapter in peft, fp32 arithmetic, against Q8_0 in llama.cpp: measured over eighteen
# beginnings 0.007 nats on average and at most 0.025, where the adapter itself makes 0.29 on average.
Q8_KL_NATS, Q8_MEAN_KL_NATS = 0.05, 0.014


def peft_rows(directory: Path, adapter: Adapter, texts: Sequence[str]) -> list[tuple[list[int], Any, Any]]:
    """Of each text its tokens and the log-probabilities, (vocabulary,), of the next with the adapter and without."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(2)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    base: Any = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    with pytest.warns(FutureWarning):  # peft's own, of transformers' names
        network: Any = PeftModel.from_pretrained(base, str(adapter.path)).float().eval()
    rows = []
    for text in texts:
        tokens = tokenizer(text)["input_ids"]
        with torch.no_grad():
            adapted = network(torch.tensor([tokens])).logits[0, -1].log_softmax(-1).numpy()
            with network.disable_adapter():
                plain = network(torch.tensor([tokens])).logits[0, -1].log_softmax(-1).numpy()
        rows.append((tokens, adapted, plain))
    return rows


def llama_row(server: Any, tokens: list[int], size: int) -> Any:
    """The log-probabilities of the next token, (vocabulary,)."""
    answers: list[str] = []
    asked = {"prompt": tokens, "n_predict": 1, "temperature": 0, "cache_prompt": False, "logprobs": 1, "n_probs": size}
    server.handle_completions(json.dumps(asked), answers.append)
    (content,) = json.loads(answers[0])["choices"][0]["logprobs"]["content"]
    row = np.full(size, -np.inf)
    for each in content["top_logprobs"]:
        row[each["id"]] = each["logprob"]
    assert np.isfinite(row).all()
    return row


def kl_nats(wanted: Any, found: Any) -> float:
    return float((np.exp(wanted) * (wanted - found)).sum())


def test_a_merged_file_gives_every_token_the_probability_that_peft_gives_it(
    tiny_model: TinyModel, tmp_path: Path
) -> None:
    adapter = read_adapter(tiny_adapter_in(tmp_path, tiny_model.directory))
    server = llama_cpp(merge(tiny_model.gguf, adapter, tmp_path / "merged.gguf"))
    for tokens, adapted, plain in peft_rows(tiny_model.directory, adapter, STORIES):
        found = llama_row(server, tokens, len(adapted))
        assert np.abs(found - adapted).max() <= FP32_LOG_PROBABILITY
        assert abs(kl_nats(adapted, found)) <= FP32_KL_NATS
        assert kl_nats(adapted, plain) > 1_000 * FP32_KL_NATS, "the adapter says too little for this to prove anything"


@pytest.mark.weights
@pytest.mark.timeout(400)
def test_the_default_model_with_its_adapter_is_served_as_it_was_trained(
    default_weights: LocalModel, default_unpacked: Path, tmp_path: Path
) -> None:
    adapter = read_adapter(SHIPPED / "storyteller")
    server = llama_cpp(merge(default_weights.path, adapter, tmp_path / "merged.gguf"))
    text = " ".join(STORIES)
    beginnings = [text[:length] for length in (60, 71, 82, 93, 104, 115)]
    rows = peft_rows(default_unpacked, adapter, beginnings)
    found = [kl_nats(adapted, llama_row(server, tokens, len(adapted))) for tokens, adapted, _ in rows]
    plain = [kl_nats(adapted, without) for _, adapted, without in rows]
    assert max(found) <= Q8_KL_NATS
    assert np.mean(found) <= Q8_MEAN_KL_NATS
    assert np.mean(found) < np.mean(plain) / 10
