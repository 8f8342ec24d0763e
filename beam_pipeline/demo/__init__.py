"""The demo: a stream of wines, and what happens to the models that score it, live in the terminal."""

# How long a pass takes once the pipeline is up, about.
USUAL_SECONDS = 45.0
