"""Serving in a worker: following the models topic, the registry, scoring batches."""
