"""Shows the versions of models as objects of a Kubernetes namespace, and their changes as events."""
