"""Alembic's place for the schema's history, read from here by path. Knows no running store."""
