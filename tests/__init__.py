"""Inkwell's tests, one file for each file or idea of the code."""
