"""One file per command family. Cogs never import cogs."""
