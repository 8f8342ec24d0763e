"""Every overlay, applied to a real API server as a strict dry run, with the operators' own definitions.

They are collected only where Kubernetes is in the cache (conftest.py): building it takes a quarter of an hour.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from flink.cluster.building import keda
from flink.cluster.errors import ClusterError
from flink.cluster.platform.definitions import custom_resource_definitions
from tests.flink.kubernetes import overlays
from tests.flink.kubernetes.api_server import ApiServer
from tests.flink.kubernetes.fetched import strimzi_crds

pytestmark = pytest.mark.timeout(300)
STRICT = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "--force-conflicts", "--filename=-")
# KServe's definitions are in no package registry.
NOT_DEFINED = ("InferenceService",)
SCALING = ("scaledobjects", "triggerauthentications")


@pytest.fixture(scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """An API server with the namespaces and definitions that the overlays need."""
    with ApiServer(tmp_path_factory.mktemp("api-server")) as server:
        for namespace in ("beam-serving", "kafka"):
            server.kubectl("create", "namespace", namespace)
        scaling = [keda.sources() / "config" / "crd" / "bases" / f"keda.sh_{kind}.yaml" for kind in SCALING]
        paths = [*custom_resource_definitions(), *sorted(strimzi_crds().iterdir()), *scaling]
        for path in paths:
            server.kubectl("apply", "--server-side", f"--filename={path}")
        names = [yaml.safe_load(path.read_text(encoding="utf-8"))["metadata"]["name"] for path in paths]
        server.kubectl("wait", "--for=condition=Established", "customresourcedefinition", *names, "--timeout=30s")
        yield server


@pytest.mark.parametrize("name", [*overlays.NAMES, overlays.LOCAL])
def test_the_api_server_accepts_every_manifest(api_server: ApiServer, name: str) -> None:
    manifests = [one for one in overlays.rendered(name) if one["kind"] not in NOT_DEFINED]
    accepted = api_server.kubectl(*STRICT, given=yaml.safe_dump_all(manifests))
    assert accepted.count("(server dry run)") == len(manifests)


@pytest.mark.parametrize("name", ["scaled-object", "trigger-authentication"])
def test_the_api_server_accepts_what_scales_the_job(api_server: ApiServer, name: str) -> None:
    manifest = (overlays.FOLDER / "components" / "autoscaling" / f"{name}.yaml").read_text(encoding="utf-8")
    assert "(server dry run)" in api_server.kubectl(*STRICT, given=manifest)
    with pytest.raises(ClusterError, match="misspelled"):
        api_server.kubectl(*STRICT, given=manifest.replace("spec:", "spec:\n  misspelled: 1"))


@pytest.mark.parametrize("kind", ["FlinkDeployment", "PodMonitor", "KafkaTopic", "PodDisruptionBudget"])
def test_an_unknown_field_is_refused(api_server: ApiServer, kind: str) -> None:
    manifest = next(one for one in overlays.rendered("aws") if one["kind"] == kind)
    manifest["spec"]["misspelled"] = 1
    with pytest.raises(ClusterError, match="misspelled"):
        api_server.kubectl(*STRICT, given=yaml.safe_dump(manifest))
