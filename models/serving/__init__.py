"""How requests reach a model and answers come back."""
