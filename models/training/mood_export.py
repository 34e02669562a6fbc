"""From a tuned encoder to the files that ship. Knows no data."""

import shutil
from pathlib import Path

from models.sentiment.encoder_weights import from_state, save
from models.training.mood_encoder import load_net


def export(run: Path, folder: Path) -> None:
    """encoder.safetensors (int8) and tokenizer.json from the folder of a finished run."""
    net = load_net(run)
    state = {name: value.numpy() for name, value in net.state_dict().items()}
    save(from_state(net.shape, state), folder / "encoder.safetensors")
    shutil.copyfile(run / "tokenizer.json", folder / "tokenizer.json")
