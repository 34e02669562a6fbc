"""Where the small weights trained by us lie: one folder each, with its model card. Knows no library that reads them."""

from pathlib import Path

GPT_FOLDER = Path(__file__).parent / "gpt"  # config.json, model.safetensors, tokenizer.json
GPT_GGUF = GPT_FOLDER / "gpt-q8_0.gguf"  # the same weights for llama.cpp
PORTRAITS_FOLDER = Path(__file__).parent / "portraits"  # generator, discriminator, attributes.safetensors, config.json
VERSE_FOLDER = Path(__file__).parent / "verse"  # likelihood-*, adversarial-*.safetensors, pieces-*.json, config.json
MOODS_FOLDER = Path(__file__).parent / "moods"  # linear-en, linear-zh, encoder, naive_bayes_*, calibration.json
