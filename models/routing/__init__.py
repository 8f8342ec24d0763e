"""Routing: selects the model that answers a record."""
