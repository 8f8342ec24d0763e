"""Serving in a worker: following the models topic, loading models, the registry, scoring batches."""
