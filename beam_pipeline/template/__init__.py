"""Dataflow templates, which are staged once and started with parameters."""
