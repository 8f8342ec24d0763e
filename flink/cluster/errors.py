"""The errors of the cluster; their messages name a remedy where there is one."""


class ClusterError(Exception):
    """The cluster, one of its binaries or one of its images cannot be made, started or stopped."""


class MissingPartError(ClusterError):
    """This machine lacks a program, a right or a package that the cluster needs."""
