"""Speeds, each as a ratio to something that runs beside it on the same machine at the same time of day."""
