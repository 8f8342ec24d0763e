"""Figures at a steady 500 records per second: latency, updates, rollouts, memory and checkpoints."""
