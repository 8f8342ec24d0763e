"""Drift: how the features and outputs of a model differ from those of its baseline.

Each worker sketches a sample of the answered records, window by window, and sends its sketches to a topic. One worker
of the deployment merges them, compares them with the baseline of the model, and reports what differs.
"""
