"""Measures speeds, each as a ratio to a rival that runs in turns with it on the same machine."""
