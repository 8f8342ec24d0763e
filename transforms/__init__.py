"""Beam over `models`: the Kafka source and sink, the model-update view, scoring. As little logic as possible."""
