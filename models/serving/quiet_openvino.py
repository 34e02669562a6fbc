"""OpenVINO without its telemetry: `import openvino` alone would send an event to Google Analytics and leave a folder in
the home directory. Every import of it in Inkwell comes through here."""

import sys
from typing import Any


def openvino() -> Any:
    """Raises ImportError."""
    _silence()
    import openvino

    return openvino


def openvino_genai() -> Any:
    """Raises ImportError."""
    _silence()
    import openvino_genai

    return openvino_genai


def _silence() -> None:
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # as if it weren't installed
