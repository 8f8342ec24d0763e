"""Every overlay, applied to the real API server as a strict dry run, with the operators' own definitions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from flink.cluster.errors import ClusterError
from flink.cluster.kubernetes_client import kubectl
from tests.flink.kubernetes import overlays
from tests.flink.kubernetes.fetched import strimzi_crds

pytestmark = pytest.mark.timeout(300)
STRICT = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "--force-conflicts", "--filename=-")
# KServe's definitions are in no package registry.
NOT_DEFINED = ("InferenceService",)


@pytest.fixture(scope="module", autouse=True)
def strimzi() -> Iterator[None]:
    """Strimzi's definitions, for the time of these tests."""
    paths = sorted(strimzi_crds().iterdir())
    for path in paths:
        kubectl("apply", "--server-side", f"--filename={path}")
    names = [yaml.safe_load(path.read_text(encoding="utf-8"))["metadata"]["name"] for path in paths]
    for name in names:
        kubectl("wait", "--for=condition=Established", f"customresourcedefinition/{name}", "--timeout=30s")
    yield
    kubectl("delete", "customresourcedefinition", *names)


@pytest.mark.parametrize("name", [*overlays.NAMES, overlays.LOCAL])
def test_the_api_server_accepts_every_manifest(name: str) -> None:
    manifests = [one for one in overlays.rendered(name) if one["kind"] not in NOT_DEFINED]
    accepted = kubectl(*STRICT, given=yaml.safe_dump_all(manifests))
    assert accepted.count("(server dry run)") == len(manifests)


@pytest.mark.parametrize("kind", ["FlinkDeployment", "PodMonitor", "KafkaTopic", "PodDisruptionBudget"])
def test_an_unknown_field_is_refused(kind: str) -> None:
    manifest = next(one for one in overlays.rendered("aws") if one["kind"] == kind)
    manifest["spec"]["misspelled"] = 1
    with pytest.raises(ClusterError, match="misspelled"):
        kubectl(*STRICT, given=yaml.safe_dump(manifest))
