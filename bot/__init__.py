"""The Discord side of Inkwell. Never loads a machine-learning library."""
