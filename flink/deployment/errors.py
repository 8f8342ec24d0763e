"""The errors of a deployment; their messages name a remedy where there is one."""


class DeploymentError(Exception):
    """The cluster or the overlay is not ready to be deployed, or a deployment failed."""


class UsageError(DeploymentError):
    """The command line is wrong."""
