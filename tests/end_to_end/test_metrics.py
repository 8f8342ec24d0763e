"""What a real Prometheus knows of a pipeline, and whether the rules and the dashboard of examples/ find it there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.model_topic.descriptor import ModelDescriptor
from runners.local.free_ports import free_port
from tests.end_to_end.conftest import Deploy
from tests.end_to_end.deployment import Deployment
from tests.end_to_end.serving_process import ROOT
from tests.end_to_end.test_updates import X, record
from tests.models.scorers.servers.tensorflow_serving_replica import running as serving_replica
from tests.prometheus_server import Prometheus, running
from tests.saved_models import save_failing_model

SaveVersion = Callable[..., Path]

MONITORING = ROOT / "examples" / "monitoring"
RULES = MONITORING / "alerts.yaml"
DASHBOARD = MONITORING / "grafana" / "dashboards" / "beam-serving.json"
RATES = re.compile(r"\[(\d+)m\]")


def expressions() -> dict[str, str]:
    """The expressions of the dashboard, by panel, with ranges of 30 s."""
    panels: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return {
        f"{panel['title']} {target['refId']}": RATES.sub("[30s]", target["expr"])
        for panel in panels
        for target in panel["targets"]
    }


@pytest.mark.timeout(180)
def test_every_panel_and_every_rule_has_data_of_a_run(
    deploy: Deploy, version_model: SaveVersion, tmp_path: Path
) -> None:
    port = free_port()
    deployment = deploy(options={"metrics-port": port})
    for version in (1, 2):
        deployment.publish("wine", version_model(version), X)
    with serving_replica({"remote:1": version_model(1)}) as replica:
        location = f"http://127.0.0.1:{replica.rest_port}/v1/models/remote/versions/1"
        deployment.models.publish(
            ModelDescriptor("remote", "tensorflow-serving-rest", model_source_location=location, inputs=X)
        )
        deployment.start()
        with running(tmp_path / "prometheus", {"beam-serving": f"127.0.0.1:{port}"}, [RULES]) as prometheus:
            make_news(deployment, version_model, tmp_path)
            for expression in expressions().values():
                prometheus.eventually(expression)
            check_numbers(prometheus, deployment)
            rules = prometheus.rules()
    assert {rule["name"] for rule in rules} and all(rule["health"] == "ok" for rule in rules), rules


def make_news(deployment: Deployment, version_model: SaveVersion, folder: Path) -> None:
    """Records of every fate, a swap, and a load that fails."""
    deployment.score(*[record("wine")] * 20)
    deployment.score(record("remote"), record("nobody"))
    deployment.send_bytes([b"garbage"])
    deployment.publish("wine", version_model(3), X)
    deployment.eventually(lambda: deployment.score(record("wine"))[0].version == 3, "version 3 scores")
    deployment.publish("failing", save_failing_model(folder / "failing"), X)


def check_numbers(prometheus: Prometheus, deployment: Deployment) -> None:
    """Compares sums with the topics themselves, once the last record is in what Prometheus has read."""
    results = deployment.results_to_the_end()
    prometheus.eventually(f"sum(beam_serving_results_total) + sum(beam_serving_errors_total) == {len(results)}")
    for version in (2, 3):
        count = sum(one.version == version and one.error is None for one in results)
        (of_version,) = prometheus.eventually(
            f'beam_serving_results_total{{model="wine",version="{version}"}} == {count}'
        )
        assert of_version.labels["role"] == "serve"
    (unanswered,) = prometheus.query('beam_serving_errors_total{kind="no_model"}')
    assert unanswered.labels["data_type"] == "nobody"
