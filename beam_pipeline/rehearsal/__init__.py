"""Rehearses a version of a model on recent records, before it answers any."""
