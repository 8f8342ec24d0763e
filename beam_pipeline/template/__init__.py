"""Dataflow templates: what is staged once, and started with parameters."""
