"""Libraries that would tell their makers that they were loaded, imported so that they don't: OpenVINO sends an event to
Google Analytics, ONNX Runtime one to Microsoft, and both leave files in the home directory. Every import of them in
Inkwell comes through here."""

import os
import sys
from typing import Any


def openvino() -> Any:
    """Raises ImportError."""
    _silence_openvino()
    import openvino

    return openvino


def openvino_genai() -> Any:
    """Raises ImportError."""
    _silence_openvino()
    import openvino_genai

    return openvino_genai


def onnxruntime() -> Any:
    """Raises ImportError."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read at the import: its disable_telemetry_events() comes too late
    import onnxruntime

    return onnxruntime


def _silence_openvino() -> None:
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # as if it weren't installed
