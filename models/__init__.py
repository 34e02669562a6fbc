"""What runs on the CPU or GPU, and how it is replaced. Knows nothing of Discord or the database."""
