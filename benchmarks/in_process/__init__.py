"""Figures of single parts, measured in this process without an engine around them."""
