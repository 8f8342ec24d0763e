"""Candidates: how good their answers are, and the guard that promotes or removes them."""
