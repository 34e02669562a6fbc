"""Generative adversarial networks: portraits from noise, and verses judged against maximum likelihood."""
