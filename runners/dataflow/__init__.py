"""Dataflow: its plan, and the checks of settings, permissions and storage."""
