"""Fixtures that all tests share, and two rules: nothing is skipped in CI, and nothing is left running."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import psutil
import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from hypothesis import HealthCheck, settings

from runners.local.free_ports import free_port
from runners.local.kafka_broker import LocalBroker
from runners.local.prism import locate_prism
from runners.local.schema_registry import LocalSchemaRegistry

if TYPE_CHECKING:
    from tests.mlflow_server import MlflowServer

SESSION_VARIABLE = "BEAM_SERVING_TEST_SESSION"
SECONDS_TO_VANISH = 5.0
# Python's own servants, which end by themselves when this process has ended; and the programs of the cluster of
# `make kubernetes-up`, which tests stop and start, and which end with the cluster.
EXEMPT = ("multiprocessing.resource_tracker", "multiprocessing.forkserver", "/kubernetes/node/")

# The time that hypothesis takes to run or to draw an example depends more on the machine than on the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


class MakeTopic(Protocol):
    """Creates a topic on the session's broker and returns its name; `cleanup_policy="compact"` sets cleanup.policy."""

    def __call__(self, name: str, partitions: int = 1, **config: object) -> str: ...


@pytest.fixture(scope="session")
def broker() -> Iterator[LocalBroker]:
    """The real Kafka broker of this session. A test that restarts or kills a broker creates its own."""
    with LocalBroker() as running:
        yield running


@pytest.fixture(scope="session")
def schema_registry() -> Iterator[LocalSchemaRegistry]:
    """The real schema registry of this session. A test that stops a registry creates its own."""
    with LocalSchemaRegistry() as running:
        yield running


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """The real MLflow server of this session; each test registers models under its own names."""
    from tests.mlflow_server import running  # MLflow takes seconds to import

    with running(tmp_path_factory.mktemp("mlflow")) as server:
        yield server


@pytest.fixture(scope="session")
def prism_location() -> Path:
    """The Prism binary, fetched or built on first use, which may take minutes on a fresh machine."""
    return locate_prism()


@pytest.fixture
def topic_names() -> Callable[[str], str]:
    """Returns `NAME-` with a unique suffix, so that tests do not share topics."""
    return lambda name: f"{name}-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def unique_port() -> Callable[[], int]:
    """Returns a free port, a different one on each call."""
    given: set[int] = set()

    def draw() -> int:
        port = next(port for port in iter(free_port, None) if port not in given)
        given.add(port)
        return port

    return draw


@pytest.fixture
def make_topic(broker: LocalBroker) -> MakeTopic:
    """Creates topics on the session's broker, with the given settings."""
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})

    def make(name: str, partitions: int = 1, **config: object) -> str:
        settings = {key.replace("_", "."): str(value) for key, value in config.items()}
        topic = NewTopic(name, num_partitions=partitions, replication_factor=1, config=settings)
        admin.create_topics([topic])[name].result(timeout=30)
        return name

    return make


# --- With CI=true a test that is skipped has failed: what CI did not run, CI has not shown.


def _in_ci() -> bool:
    return os.environ.get("CI", "").lower() == "true"


def _expected_to_fail_strictly(item: pytest.Item) -> bool:
    return any(mark.kwargs.get("strict") for mark in item.iter_markers("xfail"))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    allowed = hasattr(report, "wasxfail") and _expected_to_fail_strictly(item)
    if report.skipped and _in_ci() and not allowed:
        reason = f"xfail: {report.__dict__.pop('wasxfail')}" if hasattr(report, "wasxfail") else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"Skipped, which counts as a failure with CI=true: {reason}"
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.skipped and _in_ci():
        report.longrepr = f"Skipped as a whole, which counts as a failure with CI=true: {report.longrepr}"
        report.outcome = "failed"
    return report


# --- A test run leaves no process behind.


def pytest_configure(config: pytest.Config) -> None:
    # Child processes inherit it, so a process can be recognized as ours even when its parent is gone.
    os.environ[SESSION_VARIABLE] = uuid.uuid4().hex


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    _stop_shared_prism()
    left = _processes_left()
    if not left:
        return
    message = "Left behind, and ended now:\n" + "\n".join(_describe(process) for process in left)
    for process in left:
        process.kill()
    psutil.wait_procs(left, SECONDS_TO_VANISH)
    # Reported as the failure of a test, so that pytest's closing line and exit code say it.
    where = ("tests/conftest.py", None, "processes left behind")
    report = pytest.TestReport("processes left behind", where, {}, "failed", message, "teardown")
    session.config.hook.pytest_runtest_logreport(report=report)
    session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _stop_shared_prism() -> None:
    """Ends the Prism that Beam keeps for the life of the process: Beam also ends it, but only after our check."""
    module = sys.modules.get("apache_beam.runners.portability.prism_runner")
    if module is not None:
        shared: Any = module.PrismRunner.shared_handle
        # The constructor is called when there is no Prism; None means that there is nothing to share either.
        server = shared.acquire(lambda: None)
        if server is not None:
            server.stop()


def _processes_left() -> list[psutil.Process]:
    """The processes that this session started and that still run after a short wait for them to end."""
    here = psutil.Process()
    found = {process for process in psutil.process_iter() if process != here and _is_of_this_session(process)}
    found.update(here.children(recursive=True))
    suspects = [process for process in found if not any(name in _describe(process) for name in EXEMPT)]
    _, alive = psutil.wait_procs(suspects, SECONDS_TO_VANISH)
    return sorted((process for process in alive if _is_running(process)), key=lambda process: process.pid)


def _is_of_this_session(process: psutil.Process) -> bool:
    try:
        return bool(process.environ().get(SESSION_VARIABLE) == os.environ[SESSION_VARIABLE])
    except (psutil.Error, OSError):
        return False


def _is_running(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _describe(process: psutil.Process) -> str:
    try:
        return f"process {process.pid}: {' '.join(process.cmdline())[:300] or process.name()}"
    except psutil.Error:
        return f"process {process.pid}: (ended meanwhile)"
