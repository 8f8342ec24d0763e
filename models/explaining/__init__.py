"""Explains answers: how much each input of a model contributed to one of its outputs, for one record."""
