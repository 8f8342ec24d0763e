"""What a real Prometheus learns from Flink's reporter about a job."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from models.observing.instruments import INSTRUMENTS
from runners.flink.cluster import LocalFlinkCluster
from runners.local.free_ports import free_port
from tests.end_to_end.flink.conftest import DeployOnFlink
from tests.end_to_end.serving_process import ROOT
from tests.end_to_end.test_metrics import MONITORING, expressions
from tests.end_to_end.test_updates import X, record
from tests.prometheus_server import running

SaveVersion = Callable[..., Path]
MakeCluster = Callable[..., LocalFlinkCluster]

POD_MONITOR = ROOT / "flink" / "kubernetes" / "base" / "pod-monitor.yaml"
RELABELINGS = yaml.safe_load((MONITORING / "flink-relabelings.yaml").read_text())["metric_relabel_configs"]
# Nothing of a server, no error and no dead letter in this run.
ABSENT = ("Calls of servers", "Errors", "Dead letters")


def test_the_relabelings_know_every_label() -> None:
    labels = {label for instrument in INSTRUMENTS for label in instrument.labels}
    assert {one["target_label"] for one in RELABELINGS} == {*labels, "le", "__name__"}


def test_the_pod_monitor_has_the_same_relabelings() -> None:
    (monitored,) = yaml.safe_load(POD_MONITOR.read_text())["spec"]["podMetricsEndpoints"]
    names = {"source_labels": "sourceLabels", "target_label": "targetLabel"}
    assert monitored["metricRelabelings"] == [
        {names.get(key, key): value for key, value in one.items()} for one in RELABELINGS
    ]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_dashboard_has_data_from_flinks_reporter(
    make_cluster: MakeCluster, deploy: DeployOnFlink, version_model: SaveVersion, tmp_path: Path
) -> None:
    port = free_port()
    properties = {
        "metrics.reporters": "prom",
        "metrics.reporter.prom.factory.class": "org.apache.flink.metrics.prometheus.PrometheusReporterFactory",
        "metrics.reporter.prom.port": f"{port}-{port + 9}",
    }
    deployment = deploy(make_cluster(slots=2, properties=properties), 2)
    deployment.publish("wine", version_model(1), X)
    deployment.start()
    targets = {f"flink-{at}": f"127.0.0.1:{at}" for at in range(port, port + 10)}
    rules = [MONITORING / "alerts.yaml", MONITORING / "flink-rules.yaml"]
    with running(tmp_path / "prometheus", targets, rules, RELABELINGS) as prometheus:
        with deployment.records_coming(record("wine"), a_second=50) as sent:
            deployment.wait_for_more_results()
            deployment.publish("wine", version_model(2), X)
            deployment.eventually(lambda: deployment.score(record("wine"))[0].version == 2, "version 2 scores")
            for title, expression in expressions().items():
                if not title.startswith(ABSENT):
                    prometheus.eventually(expression)
            prometheus.eventually('beam_serving_results_total{version="2"}')
            of_versions = prometheus.query("sum by (version) (beam_serving_results_total)")
            assert {one.labels["version"] for one in of_versions} == {"1", "2"}
            buckets = "beam_serving_end_to_end_duration_seconds_bucket"
            (median,) = prometheus.eventually(f"histogram_quantile(0.5, sum by (le) ({buckets})) > 0")
            assert median.value < 60, "the records that waited for the job to start are among them"
        # Only now, for the reporter reads one number after the other while the job goes on counting.
        (every,) = prometheus.eventually(f'sum({buckets}{{le="+Inf"}}) == sum({buckets.replace("bucket", "count")})')
        assert every.value > 0
        rules_after = prometheus.rules()
    assert all(rule["health"] == "ok" for rule in rules_after), rules_after
    # The workers pass the sums on once a second, so the last second may be missing.
    assert 0 < sum(one.value for one in of_versions) <= len(deployment.results_of_all(sent)) + 10
