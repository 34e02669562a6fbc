"""Sentiment of a text in five ways, in English and Chinese."""
