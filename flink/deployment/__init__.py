"""Deploys an overlay of flink/kubernetes, upgrades it with a savepoint, and rolls it back."""
