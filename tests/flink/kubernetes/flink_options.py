"""Which options Flink and its operator have: a name that nobody knows is passed over by both without a word."""

from __future__ import annotations

import re
import zipfile
from functools import cache

from tests.flink.kubernetes.fetched import maven_artifacts

JARS = ("flink-core-*.jar", "flink-runtime-*.jar", "flink-streaming-java-*.jar", "flink-autoscaler-*.jar")
# Their class builds their names of this prefix and a constant.
AUTOSCALER = "job.autoscaler."
# The operator's own jar is in no registry that is reached: these are of the documentation of its release 1.10.
OPERATOR = frozenset(
    f"kubernetes.operator.{name}"
    for name in (
        "cluster.health-check.enabled",
        "deployment.readiness.timeout",
        "jm-deployment-recovery.enabled",
        "periodic.savepoint.interval",
        "savepoint.history.max.age",
        "savepoint.history.max.count",
    )
)


def is_known(name: str) -> bool:
    """Whether some option has this name."""
    if name in OPERATOR:
        return True
    if name.startswith(AUTOSCALER):
        return _is_constant(name.removeprefix(AUTOSCALER), "autoscaler")
    if found := re.fullmatch(r"metrics\.reporter\.\w+\.(.+)", name):
        # Of a reporter: factory.class is Flink's, and port is the Prometheus reporter's own.
        return found[1] == "port" or _is_constant(found[1], "Metric")
    return _is_constant(name, "")


def _is_constant(text: str, package: str) -> bool:
    """Whether a class of options has this string among its constants."""
    encoded = text.encode()
    # How a class file holds a string: a tag, two bytes of length, the bytes.
    constant = b"\x01" + len(encoded).to_bytes(2, "big") + encoded
    return any(constant in content for name, content in _classes() if package in name)


@cache
def _classes() -> tuple[tuple[str, bytes], ...]:
    found = []
    for pattern in JARS:
        (path,) = maven_artifacts().glob(pattern)
        with zipfile.ZipFile(path) as jar:
            names = [name for name in jar.namelist() if re.search(r"Options(\$\w+)?\.class$", name)]
            found += [(name, jar.read(name)) for name in names]
    return tuple(found)
