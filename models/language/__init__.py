"""Language models and the weights they read."""
