"""The demo: a stream of wines, and what happens to the models that score it, live in the terminal."""
