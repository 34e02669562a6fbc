"""How models are made and judged: corpora, training loops, evaluation. Knows nothing of Discord or the database."""
