"""What can go wrong with a deployment, told with the remedy."""


class DeploymentError(Exception):
    """The cluster, or what it should run, is not as it must be."""


class UsageError(DeploymentError):
    """The command was told wrongly."""
