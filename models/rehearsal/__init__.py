"""Rehearsal: how the answers of a candidate differ from those of the live model on the same records."""
