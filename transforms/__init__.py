"""Beam over `models`: the Kafka source and sink, the model-update view, scoring. As little logic as possible."""

# Registers the coders of what crosses stages, before any graph is built.
from transforms import coders as coders
