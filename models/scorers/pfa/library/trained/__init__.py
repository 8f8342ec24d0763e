"""Functions that score other trained models: regressions, clusters and networks."""
