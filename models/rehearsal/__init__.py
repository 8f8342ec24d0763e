"""Rehearsal: compares the answers of a candidate with those of the live model on the same records."""
