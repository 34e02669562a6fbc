"""A small real adapter for the tests' small llama, as peft writes it: its weights are drawn, not trained, and strong
enough to change every greedy text. Knows nothing of the engines that load it.

Run as a process (`python -m tests.tiny_adapter MODEL DIRECTORY`), so that torch stays out of tests that don't need it.
"""

import subprocess
import sys
from pathlib import Path


def tiny_adapter_in(folder: Path, model: Path) -> Path:
    """The directory of an adapter for the Hugging Face directory `model`, made in a child process."""
    directory = folder / "tiny-adapter"
    command = [sys.executable, "-m", "tests.tiny_adapter", str(model), str(directory)]
    subprocess.run(command, cwd=Path(__file__).parents[1], check=True, timeout=280)
    return directory


def build(model: Path, directory: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from models.training.storyteller import save_adapter, with_adapter

    torch.manual_seed(11)
    network = with_adapter(AutoModelForCausalLM.from_pretrained(model), rank=4, alpha=8)
    for name, weight in network.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.15)
    save_adapter(network, directory, base="tests/tiny-llama")


if __name__ == "__main__":
    build(Path(sys.argv[1]), Path(sys.argv[2]))
