"""Model files from one format to the other, once and whole: a Hugging Face directory to GGUF for llama.cpp, GGUF to a
directory for torch. Knows nothing of where weights come from or who reads them.

Both directions write beside the target and rename, so that an interrupted conversion leaves nothing half-made.

    python -m models.language.convert to-directory MODEL.gguf DIRECTORY [--kind bf16|f32]
    python -m models.language.convert to-gguf DIRECTORY MODEL.gguf [--kind f32|f16|q8_0]
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from models.language.gguf_header import read_header
from models.language.text_splits import LLAMA_CPP_SPLITS

if TYPE_CHECKING:
    import gguf
    import numpy as np

Kind = Literal["f32", "f16", "q8_0"]
Precision = Literal["bf16", "f32"]


class UnsupportedModelError(ValueError):
    """This architecture or tokenizer can't be written in the other format; the message names the feature."""


class _Source(NamedTuple):
    """A tensor in a safetensors file."""

    file: Path
    name: str
    shape: tuple[int, ...]


# --- directory -> GGUF ---


def gguf_from_directory(directory: Path, target: Path, kind: Kind = "f32") -> Path:
    """Write the LlamaForCausalLM in `directory` (config.json, tokenizer.json, *.safetensors) as one GGUF file.

    Matrices are stored as `kind`, vectors as f32. One tensor is in memory at a time. Raises UnsupportedModelError for
    anything that llama.cpp's `llama` architecture with a byte-level BPE tokenizer can't represent exactly.
    """
    import gguf

    config = json.loads((directory / "config.json").read_text("utf-8"))
    _refuse_unsupported(config)
    tensors = _tensors_of(directory)
    layers, heads, kv_heads = config["num_hidden_layers"], *_heads(config)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, layers)
    order = [name for name in tensors if not _is_tied_copy(name, config)]

    with written_whole(target) as unfinished:
        writer = gguf.GGUFWriter(unfinished, gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH.LLAMA])
        try:
            _add_metadata(writer, config, directory, kind)
            _add_tokenizer(writer, config, directory)
            for name in order:
                translated = names.get_name(name, try_suffixes=(".weight", ".bias"))
                if translated is None:
                    raise UnsupportedModelError(f"the tensor {name} has no place in llama.cpp's llama architecture")
                stored = _stored_type(name, tensors[name].shape, kind)
                shape = gguf.quant_shape_to_byte_shape(tensors[name].shape, stored) if _is_packed(stored) else None
                writer.add_tensor_info(
                    translated,
                    shape or tensors[name].shape,
                    _numpy_type(stored),
                    _bytes_of(tensors[name].shape, stored),
                    raw_dtype=stored,
                )
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
            for name in order:
                values = _read_float32(tensors[name])
                if name.endswith(("q_proj.weight", "k_proj.weight")):
                    values = rotary_rows(values, heads if "q_proj" in name else kv_heads)
                writer.write_tensor_data(gguf.quants.quantize(values, _stored_type(name, values.shape, kind)))
            writer.flush()
        finally:
            writer.close()
    return target


def rotary_rows(weight: "np.ndarray[Any, Any]", heads: int) -> "np.ndarray[Any, Any]":
    """Rows of a query or key projection, (heads * head_dim, hidden), in llama.cpp's order.

    Hugging Face rotates the first half of a head against the second half; llama.cpp rotates neighbours. Interleaving
    the halves makes the two the same rotation. LoRA B matrices of these projections need the same.
    """
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def _refuse_unsupported(config: dict[str, Any]) -> None:
    architectures = config.get("architectures") or [config.get("model_type")]
    if architectures[0] not in ("LlamaForCausalLM", "llama"):
        raise UnsupportedModelError(f"only LlamaForCausalLM can be written as GGUF here, not {architectures[0]}")
    if _rope(config).get("rope_type", "default") != "default":
        raise UnsupportedModelError(f"scaled rotary embeddings ({_rope(config)['rope_type']}) can't be written as GGUF")
    for feature in ("attention_bias", "mlp_bias"):
        if config.get(feature):
            raise UnsupportedModelError(f"a model with {feature} can't be written as GGUF")
    if config.get("hidden_act", "silu") != "silu":
        raise UnsupportedModelError(f"the activation {config['hidden_act']} can't be written as GGUF")
    if config.get("quantization_config"):
        raise UnsupportedModelError("a model that is already quantised can't be written as GGUF")


def _rope(config: dict[str, Any]) -> dict[str, Any]:
    # transformers 5 writes rope_parameters; version 4 wrote rope_theta and rope_scaling.
    scaling = config.get("rope_scaling") or {}
    return config.get("rope_parameters") or {"rope_theta": config.get("rope_theta", 10_000.0), **scaling}


def _heads(config: dict[str, Any]) -> tuple[int, int]:
    heads = config["num_attention_heads"]
    return heads, config.get("num_key_value_heads") or heads


def _is_tied_copy(name: str, config: dict[str, Any]) -> bool:
    return name == "lm_head.weight" and bool(config.get("tie_word_embeddings"))


def _tensors_of(directory: Path) -> dict[str, _Source]:
    from safetensors import safe_open

    files = sorted(directory.glob("*.safetensors"))
    if not files:
        raise FileNotFoundError(f"{directory} holds no *.safetensors file")
    found: dict[str, _Source] = {}
    for file in files:
        with safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118 - not a dict
                found[name] = _Source(file, name, tuple(opened.get_slice(name).get_shape()))
    return found


def _read_float32(source: _Source) -> "np.ndarray[Any, Any]":
    import torch
    from safetensors import safe_open

    with safe_open(source.file, framework="pt") as opened:  # numpy has no bfloat16
        tensor: torch.Tensor = opened.get_tensor(source.name)
    values: np.ndarray[Any, Any] = tensor.to(torch.float32).numpy()
    return values


def _stored_type(name: str, shape: tuple[int, ...], kind: Kind) -> "gguf.GGMLQuantizationType":
    import gguf

    if len(shape) < 2:
        return gguf.GGMLQuantizationType.F32
    if kind == "q8_0" and shape[-1] % gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType.Q8_0][0]:
        raise UnsupportedModelError(f"rows of {name} have {shape[-1]} values, and q8_0 stores blocks of 32")
    return gguf.GGMLQuantizationType[kind.upper()]


def _is_packed(stored: "gguf.GGMLQuantizationType") -> bool:
    return stored.name.startswith("Q")


def _numpy_type(stored: "gguf.GGMLQuantizationType") -> "np.dtype[Any]":
    import numpy as np

    return np.dtype({"F32": np.float32, "F16": np.float16}.get(stored.name, np.uint8))


def _bytes_of(shape: tuple[int, ...], stored: "gguf.GGMLQuantizationType") -> int:
    import gguf
    import numpy as np

    block, size = gguf.GGML_QUANT_SIZES[stored]
    return int(np.prod(shape)) // block * size


def _add_metadata(writer: "gguf.GGUFWriter", config: dict[str, Any], directory: Path, kind: Kind) -> None:
    import gguf

    heads, kv_heads = _heads(config)
    head_dim = config.get("head_dim") or config["hidden_size"] // heads
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(directory.name)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(_rope(config)["rope_theta"])
    writer.add_rope_dimension_count(head_dim)
    writer.add_vocab_size(config["vocab_size"])
    file_types = {"f32": "ALL_F32", "f16": "MOSTLY_F16", "q8_0": "MOSTLY_Q8_0"}
    writer.add_file_type(gguf.LlamaFileType[file_types[kind]])
    if kind == "q8_0":
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _add_tokenizer(writer: "gguf.GGUFWriter", config: dict[str, Any], directory: Path) -> None:
    import gguf

    tokenizer = json.loads((directory / "tokenizer.json").read_text("utf-8"))
    if tokenizer["model"]["type"] != "BPE" or tokenizer.get("normalizer"):
        raise UnsupportedModelError(
            "only a byte-level BPE tokenizer without a normalizer can be written as GGUF here, "
            f"not {tokenizer['model']['type']}"
        )
    size = config["vocab_size"]
    tokens = [f"[PAD{index}]" for index in range(size)]  # rows of the embedding that no token uses
    types = [gguf.TokenType.UNUSED] * size
    for text, index in tokenizer["model"]["vocab"].items():
        tokens[index], types[index] = text, gguf.TokenType.NORMAL
    for added in tokenizer["added_tokens"]:
        tokens[added["id"]] = added["content"]
        types[added["id"]] = gguf.TokenType.CONTROL if added["special"] else gguf.TokenType.USER_DEFINED
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(split_name(tokenizer["pre_tokenizer"]))
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_add_space_prefix(False)
    special = gguf.SpecialVocab(directory, load_merges=True, n_vocab=size)
    special.add_special_token.setdefault("bos", False)  # llama.cpp would add one by itself
    special.add_to_gguf(writer, quiet=True)


def split_name(pre_tokenizer: dict[str, Any] | None) -> str:
    """llama.cpp's name for a tokenizer.json's pre-tokenizer. Raises UnsupportedModelError for one it has no name for:
    a near match would cut some texts differently and never be noticed."""
    steps = (pre_tokenizer or {}).get("pretokenizers", [pre_tokenizer])
    kinds = [step["type"] for step in steps if step]
    if kinds and kinds[-1] == "ByteLevel" and not steps[-1]["add_prefix_space"]:
        byte_level = steps[-1]
        if kinds == ["ByteLevel"] and byte_level["use_regex"]:
            return "gpt-2"
        if kinds == ["Digits", "ByteLevel"] and steps[0]["individual_digits"] and byte_level["use_regex"]:
            return "smollm"
        if kinds == ["Split", "ByteLevel"] and not byte_level["use_regex"]:
            for name, pattern in LLAMA_CPP_SPLITS.items():
                if steps[0]["pattern"].get("Regex") == pattern:
                    return name
    raise UnsupportedModelError(f"llama.cpp has no name for this tokenizer's way to cut text ({', '.join(kinds)})")


# --- GGUF -> directory ---


def directory_from_gguf(path: Path, target: Path, precision: Precision = "bf16") -> Path:
    """Write the model in the GGUF file `path` as a directory in Hugging Face layout: its weights unpacked to
    safetensors, its tokenizer and its chat template. Does nothing when `target` is there.

    Takes about 8 bytes of memory a parameter for as long as it runs; call it in a process of its own (`main`). Raises
    UnsupportedModelError for an architecture or tokenizer that transformers can't read from GGUF.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    if target.exists():
        return target
    source, name, dtype = str(path.parent), path.name, torch.bfloat16 if precision == "bf16" else torch.float32
    try:
        unpacked = GgufConfig(dequantize=True)
        model: Any = AutoModelForCausalLM.from_pretrained(
            source, gguf_file=name, dtype=dtype, quantization_config=unpacked
        )
        tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=name)
    except (ValueError, KeyError, NotImplementedError) as error:
        raise UnsupportedModelError(f"transformers can't read {path} ({error})") from error
    # It is no quantised model any more, and saving refuses one that says so.
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    _cut_as_llama_cpp(tokenizer, path)
    with written_whole(target) as unfinished:
        model.save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
    return target


def _cut_as_llama_cpp(tokenizer: Any, path: Path) -> None:
    """transformers 5.23 doesn't know SmolLM's cut by name and would take GPT-2's, which keeps digits together."""
    from tokenizers import pre_tokenizers

    if read_header(path).metadata.get("tokenizer.ggml.pre") == "smollm":
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )


# --- writing whole or not at all ---


@contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """A path beside `target` that takes its name when the block ends well and is removed when it doesn't."""
    target.parent.mkdir(parents=True, exist_ok=True)
    room = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield room / target.name
        try:
            (room / target.name).replace(target)
        except OSError:
            if not target.is_dir():  # else another process was first
                raise
    finally:
        shutil.rmtree(room, ignore_errors=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m models.language.convert", description="Convert model files.")
    directions = parser.add_subparsers(dest="direction", required=True)
    for direction, kinds in (("to-directory", ("bf16", "f32")), ("to-gguf", ("f32", "f16", "q8_0"))):
        command = directions.add_parser(direction)
        command.add_argument("source", type=Path)
        command.add_argument("target", type=Path)
        command.add_argument("--kind", choices=kinds, default=kinds[0])
    asked = parser.parse_args(arguments)
    try:
        if asked.direction == "to-gguf":
            gguf_from_directory(asked.source, asked.target, asked.kind)
        else:
            from transformers.utils import logging

            logging.disable_progress_bar()  # type: ignore[no-untyped-call]
            directory_from_gguf(asked.source, asked.target, asked.kind)
    except (UnsupportedModelError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
