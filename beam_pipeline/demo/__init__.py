"""The demo: a stream of wine records and the models that score it, live in the terminal."""

# The approximate duration of a pass once the pipeline is up.
USUAL_SECONDS = 45.0
