"""Turns a configuration into the plan of each runner, without knowing the graph."""
