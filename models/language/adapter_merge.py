"""Adds a peft adapter to the weights of a GGUF model, once and for good: a new GGUF file beside the models. Knows
nothing of where adapters come from or who loads the result.

llama.cpp could also apply the adapter while it computes. Measured on SmolLM2-135M (one story, tokens per CPU-second):
base in Q4_1 42, with an adapter beside it 27, merged and stored in Q8_0 56. And an adapter beside the weights goes
through another kernel for one token than for many, so that a seed would give another text when stories run side by
side; merged weights keep that promise.

Needs gguf, numpy and safetensors, and no torch: this runs where nothing but llama.cpp is installed.

    python -m models.language.adapter_merge MODEL.gguf ADAPTER TARGET.gguf
"""

import argparse
import contextlib
import glob
import logging
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from models.language.adapters import Adapter, AdapterError, read_adapter
from models.language.convert import rotary_rows, written_whole
from models.language.gguf_header import GgufHeader, NotGgufError, TruncatedGgufError, read_header
from models.language.weight_fetch import full_disk_as_a_sentence, require_free

if TYPE_CHECKING:
    import gguf
    import numpy as np

log = logging.getLogger(__name__)

_NAME: Final = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight")
_MARK: Final = "inkwell.adapter"  # the key of a merged file that names the adapter in it
KEPT_S: Final = 3600  # for which a merged file stays after it was last asked for, though another one is used now
_GROWTH: Final = 2  # Q8_0 takes at most twice the bytes of the 4-bit types


def merged(path: Path, adapter: Adapter, data_dir: Path, version: str) -> Path:
    """The GGUF file in `data_dir`/models that holds the model at `path`, whose version is `version`, with `adapter` in
    its weights; makes it, in a process of its own, the first time (some seconds). Then files of the same model with
    other adapters go, unless one was asked for within the last hour.

    Raises AdapterError and DiskFullError.
    """
    folder = data_dir.absolute() / "models"
    target = folder / f"{version}-with-{adapter.version}.gguf".replace("@", "-")
    if _is_whole(target):
        with contextlib.suppress(OSError):
            os.utime(target)  # when it was last asked for; a folder that can't be written needs no such note
    else:
        _make(path, adapter, target, version)
    _remove_others(target, version)
    return target


def _make(path: Path, adapter: Adapter, target: Path, version: str) -> None:
    folder = target.parent
    with full_disk_as_a_sentence(folder):
        folder.mkdir(parents=True, exist_ok=True)
        require_free(folder, _GROWTH * path.stat().st_size)
    log.info("putting %s into the weights of %s: once, some seconds", adapter.version, version)
    command = [sys.executable, "-m", "models.language.adapter_merge", str(path.absolute()), str(adapter.path)]
    root = Path(__file__).parents[2]  # where `models` is found, whatever the working directory
    done = subprocess.run([*command, str(target)], cwd=root, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1].rstrip(".")
        raise AdapterError(f"{reason}.")


def _remove_others(target: Path, version: str) -> None:
    """Remove what an adapter of before left: 145 MB each for the default model.

    A process that has such a file open keeps its content (where the system keeps it from being removed, it stays).
    Between asking for a file and opening it lie seconds: hence the hour. One that starts again later makes it again.
    """
    for file in target.parent.glob(f"{glob.escape(version.replace('@', '-'))}-with-*.gguf"):
        if file == target or not _is_merged(file):
            continue
        with contextlib.suppress(OSError):
            if time.time() - file.stat().st_mtime > KEPT_S:
                file.unlink()
                log.info("removed %s: the model is used with another adapter now", file.name)


def _is_merged(file: Path) -> bool:
    """Whether `merge` wrote it; a torn one is nobody's."""
    try:
        return _MARK in read_header(file).metadata
    except (OSError, NotGgufError, TruncatedGgufError):
        return False


def _is_whole(target: Path) -> bool:
    try:
        read_header(target)
    except (FileNotFoundError, NotGgufError, TruncatedGgufError):
        return False
    return True


def merge(path: Path, adapter: Adapter, target: Path) -> Path:
    """Write the model at `path` with `adapter` in its weights as `target`. Weights that the adapter changes are stored
    in Q8_0 where they were quantised, else as they were; all others stay as they are. One tensor is in memory at a
    time.

    Raises AdapterError for an adapter that doesn't fit the model.
    """
    import gguf

    header = read_header(path)
    changes = _changes(adapter, header)
    reader = gguf.GGUFReader(path)
    missing = sorted(set(changes) - {tensor.name for tensor in reader.tensors})
    if missing:
        raise _other_model(adapter, f"it changes {missing[0]}, which this model doesn't have")
    with written_whole(target) as unfinished:
        writer = gguf.GGUFWriter(unfinished, header.architecture)
        try:
            _copy_metadata(reader, writer, adapter)
            kinds = {_stored_type(tensor, tensor.name in changes).name for tensor in reader.tensors}
            if file_type := _file_type(kinds):
                writer.add_file_type(file_type)
            for tensor in reader.tensors:
                stored = _stored_type(tensor, tensor.name in changes)
                shape = tuple(int(size) for size in reversed(tensor.shape))
                packed = stored.name not in ("F32", "F16")
                writer.add_tensor_info(
                    tensor.name,
                    gguf.quant_shape_to_byte_shape(shape, stored) if packed else shape,
                    tensor.data.dtype if stored == tensor.tensor_type else _numpy_type(stored),
                    _bytes_of(shape, stored),
                    raw_dtype=stored,
                )
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
            for tensor in reader.tensors:
                if tensor.name not in changes:
                    writer.write_tensor_data(tensor.data)
                    continue
                a, b = changes[tensor.name]
                values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)  # (rows, columns)
                if (b.shape[0], a.shape[1]) != values.shape:
                    raise _other_model(adapter, f"{tensor.name} has another shape")
                values = values + adapter.scale * (b @ a)
                writer.write_tensor_data(gguf.quants.quantize(values, _stored_type(tensor, changed=True)))
            writer.flush()
        finally:
            writer.close()
    return target


def _other_model(adapter: Adapter, reason: str) -> AdapterError:
    return AdapterError(
        f"{adapter.path} was made for another model ({reason}): set STORY_ADAPTER=none, or the model it was made for."
    )


def _changes(adapter: Adapter, base: GgufHeader) -> "dict[str, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]":
    """For llama.cpp's name of each changed weight its A, (rank, columns), and B, (rows, rank), in fp32; rows of queries
    and keys in llama.cpp's order."""
    import gguf

    if base.architecture != "llama":
        raise _other_model(adapter, f"this one is of the kind {base.architecture}")
    layers, heads = base.metadata.get("llama.block_count"), base.metadata.get("llama.attention.head_count")
    kv_heads = base.metadata.get("llama.attention.head_count_kv", heads)
    if not (isinstance(layers, int) and isinstance(heads, int) and isinstance(kv_heads, int)):
        raise _other_model(adapter, "this one doesn't tell its shape")
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, layers)
    sides: dict[str, dict[str, np.ndarray[Any, Any]]] = {}
    for name, values in _read(adapter).items():
        match = _NAME.fullmatch(name)
        translated = match and names.get_name(match["module"])
        if not match or not translated:
            raise _other_model(adapter, f"it changes {name}, which this model doesn't have")
        if match["side"] == "B" and match["module"].endswith(("q_proj", "k_proj")):
            count = heads if match["module"].endswith("q_proj") else kv_heads
            if values.shape[0] % (2 * count):
                raise _other_model(adapter, "it has another number of heads")
            values = rotary_rows(values, count)
        sides.setdefault(f"{translated}.weight", {})[match["side"]] = values
    if any(found.keys() != {"A", "B"} for found in sides.values()):
        raise AdapterError(f"{adapter.weights} is damaged (one half of a pair is missing): copy the adapter again.")
    return {name: (found["A"], found["B"]) for name, found in sides.items()}


def _read(adapter: Adapter) -> "dict[str, np.ndarray[Any, Any]]":
    import numpy as np
    from safetensors import SafetensorError, deserialize

    try:
        entries = deserialize(adapter.weights.read_bytes())  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise AdapterError(f"{adapter.weights} is damaged ({error}): copy the adapter again.") from error
    values: dict[str, np.ndarray[Any, Any]] = {}
    for name, entry in entries:
        if entry["dtype"] == "BF16":  # numpy has none: it is the upper half of an fp32
            array = (np.frombuffer(entry["data"], np.uint16).astype(np.uint32) << 16).view(np.float32)
        elif entry["dtype"] in ("F16", "F32"):
            array = np.frombuffer(entry["data"], np.float16 if entry["dtype"] == "F16" else np.float32)
        else:
            raise AdapterError(f"{adapter.weights} holds {entry['dtype']} values: save it as fp16, bf16 or fp32.")
        values[name] = array.astype(np.float32).reshape(entry["shape"])
    return values


def _copy_metadata(reader: "gguf.GGUFReader", writer: "gguf.GGUFWriter", adapter: Adapter) -> None:
    import gguf

    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in (gguf.Keys.General.ARCHITECTURE, "general.file_type"):
            continue
        kind = field.types[0]
        element = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), kind, sub_type=element)
    writer.add_string(_MARK, adapter.version)


def _stored_type(tensor: "gguf.ReaderTensor", changed: bool) -> "gguf.GGMLQuantizationType":
    import gguf

    kind: gguf.GGMLQuantizationType = tensor.tensor_type
    if not changed or kind.name in ("F32", "F16"):
        return kind
    block = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType.Q8_0][0]
    return gguf.GGMLQuantizationType.F16 if int(tensor.shape[0]) % block else gguf.GGMLQuantizationType.Q8_0


def _file_type(kinds: set[str]) -> int | None:
    """llama.cpp's number for what a file of these tensor types mostly is; OpenVINO reads no file without one. None for
    a mixture that has no name."""
    import gguf

    named = {"Q8_0": gguf.LlamaFileType.MOSTLY_Q8_0, "F16": gguf.LlamaFileType.MOSTLY_F16}
    mostly = kinds - {"F32"}
    if not mostly:
        return int(gguf.LlamaFileType.ALL_F32)
    return int(named[kind]) if len(mostly) == 1 and (kind := next(iter(mostly))) in named else None


def _numpy_type(stored: "gguf.GGMLQuantizationType") -> "np.dtype[Any]":
    import numpy as np

    return np.dtype({"F32": np.float32, "F16": np.float16}.get(stored.name, np.uint8))


def _bytes_of(shape: tuple[int, ...], stored: "gguf.GGMLQuantizationType") -> int:
    import gguf
    import numpy as np

    block, size = gguf.GGML_QUANT_SIZES[stored]
    return int(np.prod(shape)) // block * size


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m models.language.adapter_merge", description="Merge an adapter.")
    for name in ("model", "adapter", "target"):
        parser.add_argument(name, type=Path)
    asked = parser.parse_args(arguments)
    try:
        merge(asked.model, read_adapter(asked.adapter), asked.target)
    except (AdapterError, OSError, NotImplementedError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
