"""The cluster as separate processes. tests/flink covers the behaviour of a job when parts of the cluster die."""

from __future__ import annotations

import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from models.errors import OptionsError
from runners.flink import background as flink_background
from runners.flink.__main__ import main
from runners.flink.cluster import FlinkClusterError, FlinkClusterSettings, LocalFlinkCluster
from runners.flink.configuration import METASPACE, TaskManagerMemory
from runners.flink.distribution import flink_distribution
from runners.flink.rest import FlinkRest
from runners.local.cache_folder import cache_folder
from runners.local.free_ports import HOST, is_free
from runners.local.java_tools import JavaToolError

SECONDS_TO_NOTICE = 15.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalFlinkCluster]:
    settings = FlinkClusterSettings(slots=3, properties={"web.refresh-interval": "4321"})
    with LocalFlinkCluster(settings) as running:
        yield running


def listening(cluster: LocalFlinkCluster) -> list[int]:
    addresses = (cluster.rest_address, cluster.worker_pool_address)
    return [port for port in (int(address.split(":")[1]) for address in addresses) if not is_free(port)]


def started_by_us() -> list[psutil.Process]:
    return [process for process in psutil.Process().children(recursive=True) if "java" in process.name()]


def test_all_that_was_asked_for_is_registered(cluster: LocalFlinkCluster) -> None:
    overview = FlinkRest(cluster.rest_address).overview()
    assert (overview.task_managers, overview.slots, overview.free_slots) == (1, 3, 3)
    assert overview.version == flink_distribution().name
    assert len(listening(cluster)) == 2


def test_the_web_pages_are_there(cluster: LocalFlinkCluster) -> None:
    with urllib.request.urlopen(f"http://{cluster.rest_address}/", timeout=10) as page:
        assert b"<title>Apache Flink Web Dashboard</title>" in page.read()


def test_logs_can_be_read_in_the_web_pages(cluster: LocalFlinkCluster) -> None:
    url = f"http://{cluster.rest_address}/taskmanagers/task-manager-0/log"
    with urllib.request.urlopen(url, timeout=10) as page:
        assert b"TaskManager" in page.read()


def test_properties_override_ours(cluster: LocalFlinkCluster) -> None:
    given = {one["key"]: one["value"] for one in FlinkRest(cluster.rest_address).ask("GET", "jobmanager/config")}
    assert given["web.refresh-interval"] == "4321"
    assert given["state.checkpoints.dir"] == cluster.checkpoint_folder.as_uri()


def test_starting_twice_is_starting_once(cluster: LocalFlinkCluster) -> None:
    before = started_by_us()
    cluster.start()
    assert started_by_us() == before


def test_a_killed_task_manager_is_noticed_and_can_be_replaced(cluster: LocalFlinkCluster) -> None:
    killed = cluster.kill_task_manager()
    began = time.monotonic()
    cluster.wait_until_ready(SECONDS_TO_NOTICE)
    assert FlinkRest(cluster.rest_address).overview().task_managers == 0
    assert time.monotonic() - began < SECONDS_TO_NOTICE
    replacement = cluster.start_task_manager()
    cluster.wait_until_ready()
    assert cluster.task_managers == (replacement,) != (killed,)
    assert FlinkRest(cluster.rest_address).overview().slots == 3
    with pytest.raises(FlinkClusterError, match=f"runs no task manager {killed} now"):
        cluster.kill_task_manager(killed)


def test_a_killed_job_manager_comes_back_at_its_address(cluster: LocalFlinkCluster) -> None:
    address = cluster.rest_address
    killed = cluster.kill_job_manager()
    with pytest.raises(FlinkClusterError, match="no job manager now: start one"):
        _ = cluster.rest_address
    assert cluster.start_job_manager() == killed
    cluster.wait_until_ready()
    assert cluster.rest_address == address
    assert FlinkRest(address).overview().task_managers == 1


def test_a_killed_worker_pool_comes_back_at_its_address(cluster: LocalFlinkCluster) -> None:
    assert cluster.worker_processes() == []
    with pytest.raises(FlinkClusterError, match="runs no Python worker now: start a job"):
        cluster.kill_worker()
    cluster.kill_worker_pool()
    assert len(listening(cluster)) == 1
    cluster.start_worker_pool()
    cluster.wait_until_ready()
    assert len(listening(cluster)) == 2


def test_a_part_that_ends_by_itself_is_reported_with_its_log(cluster: LocalFlinkCluster) -> None:
    broken = LocalFlinkCluster(FlinkClusterSettings(properties={"taskmanager.memory.network.min": "many"}))
    with pytest.raises(FlinkClusterError, match=r"task manager 0 .* ended by itself:\n(.|\n)*network\.min"), broken:
        pass
    assert not broken.work_folder.exists()


def test_a_fork_does_not_end_the_cluster(cluster: LocalFlinkCluster) -> None:
    # Runs the exit handlers of a fork, without forking this process with all its threads.
    before = started_by_us()
    cluster._owner, owner = -1, cluster._owner
    try:
        cluster.close()
    finally:
        cluster._owner = owner
    assert started_by_us() == before
    assert cluster.work_folder.exists()


def test_with_high_availability_another_job_manager_takes_over_and_nothing_is_left_in_the_end() -> None:
    before = started_by_us()
    with LocalFlinkCluster(FlinkClusterSettings(job_managers=2, high_availability=True)) as cluster:
        first, both = cluster.rest_address, cluster.job_managers
        killed = cluster.kill_job_manager()
        cluster.wait_until_ready()
        assert (both, killed, cluster.job_managers) == ((0, 1), 0, (1,))
        assert cluster.rest_address != first
        assert FlinkRest(cluster.rest_address).overview().task_managers == 1
        ports = listening(cluster)
        assert len(ports) == 2
    assert started_by_us() == before
    assert all(is_free(port) for port in ports)
    assert not cluster.work_folder.exists()


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen(1)
        port = other.getsockname()[1]
        taken = LocalFlinkCluster(FlinkClusterSettings(worker_pool_port=port))
        with pytest.raises(FlinkClusterError, match=rf"Port {port} is in use.*--worker-pool-port"), taken:
            pass


def test_without_java_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(JavaToolError, match="`java` is not on PATH, and the local Flink"), LocalFlinkCluster():
        pass


@pytest.mark.parametrize("wrong", [{"slots": 0}, {"task_managers": 0}, {"job_managers": 0}, {"job_managers": 2}])
def test_settings_that_cannot_work_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(OptionsError, match=r"at least|need high availability"):
        FlinkClusterSettings(**wrong)  # type: ignore[arg-type]


def test_the_java_machine_gets_the_memory_that_flink_counts_with() -> None:
    memory = TaskManagerMemory(heap=500, direct=100, network=50, managed=30)
    settings = {name.removeprefix("taskmanager.memory."): int(size[:-1]) for name, size in memory.settings().items()}
    options = dict(option[1:].rstrip("m").replace("Xmx", "Xmx=").split("=") for option in memory.java_options())
    assert int(options["Xmx"]) == settings["task.heap.size"] + settings["framework.heap.size"]
    direct = ("task.off-heap.size", "framework.off-heap.size", "network.max")
    assert int(options["XX:MaxDirectMemorySize"]) == sum(settings[name] for name in direct)
    assert settings["process.size"] == memory.total + METASPACE


# --- In the background.


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that contains only Flink itself."""
    flink = flink_distribution().parent
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache_folder().mkdir()
    cache_folder("flink").symlink_to(flink)


def test_up_status_and_down(
    own_cache: None, unique_port: Callable[[], int], capsys: pytest.CaptureFixture[str]
) -> None:
    rest, pool = unique_port(), unique_port()
    kept = cache_folder("flink-cluster", "work", "savepoints", "savepoint-1")
    stale = cache_folder("flink-cluster", "work", "checkpoints", "job")
    kept.mkdir(parents=True)
    stale.mkdir(parents=True)

    assert main(["up", "--slots", "1", "--rest-port", str(rest), "--worker-pool-port", str(pool)]) == 0
    try:
        told = capsys.readouterr().out
        assert "is up: 1 task managers, 1 of 1 task slots free" in told
        assert f"http://localhost:{rest}" in told
        assert f"--flink-master localhost:{rest} --environment_config=localhost:{pool}" in told
        assert kept.is_dir()
        assert not stale.exists()
        found = flink_background.find()
        assert found is not None
        assert (Path(found.log_folder) / "job-manager-0.log").is_file()
        members = psutil.Process(found.process_id).children(recursive=True)
        assert len([process for process in members if "java" in process.name()]) == 2

        assert main(["up"]) == 0
        assert capsys.readouterr().out.startswith("Already up.\n")
        assert flink_background.find() == found
        assert main(["status"]) == 0
        assert f"http://localhost:{rest}" in capsys.readouterr().out
    finally:
        assert main(["down"]) == 0
    assert "is down" in capsys.readouterr().out
    assert not psutil.wait_procs(members, 5)[1]
    assert is_free(rest)
    assert is_free(pool)
    assert main(["status"]) == 1
    assert main(["down"]) == 0
    assert "No local Flink cluster is up" in capsys.readouterr().out


def test_up_reports_why_it_failed(own_cache: None, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen(1)
        port = other.getsockname()[1]
        assert main(["up", "--rest-port", str(port)]) == 1
    assert f"Port {port} is in use" in capsys.readouterr().err
    assert flink_background.find() is None


def test_up_does_not_start_a_second_one_beside_one_that_is_only_about_to_be(
    own_cache: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(flink_background, "POLL_SECONDS", 0.01)
    with flink_background._lock() as free:
        assert free
        assert flink_background.serve(FlinkClusterSettings()) == 1
    assert "already up or starting" in capsys.readouterr().err
