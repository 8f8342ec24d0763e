"""A single-node Kubernetes on this machine for trying out and testing the deployment, built from package registries."""
