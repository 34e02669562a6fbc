"""What Inkwell measures against outside baselines in the same run."""
