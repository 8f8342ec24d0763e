"""Serving in a worker: following the models topic, loading, the registry, scoring a batch."""
