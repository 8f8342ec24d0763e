"""Beam's Prism on this machine, the default."""
