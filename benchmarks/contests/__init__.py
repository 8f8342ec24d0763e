"""Contests: each type of model as this project serves it, beside the same model in its own framework."""
