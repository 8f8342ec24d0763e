"""The Beam layer over `models`, with as little logic as possible: Kafka source and sink, model updates, scoring."""

# This import registers the coders, which has to happen before any graph is built.
from transforms import coders as coders
