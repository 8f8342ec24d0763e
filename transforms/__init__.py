"""The Beam layer over `models`: Kafka source and sink, model updates, scoring; with as little logic as possible."""

# This import registers the coders, which has to happen before any graph is built.
from transforms import coders as coders
