"""Explains the answer in one result, for `beam-serving explain`."""
