"""The revisions, one file each; a published one never changes. Knows nothing but the schema of its day."""
