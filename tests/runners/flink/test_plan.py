from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from models.errors import FlinkJobError, FlinkUnreachableError, OptionsError
from runners.flink import job as flink_job
from runners.flink.job import FlinkJob
from runners.flink.plan import check_cluster, plan
from runners.flink.rest import FlinkRest
from runners.local.free_ports import free_port
from runners.plan import RunnerPlan

Answers = dict[str, tuple[int, Any]]
Serve = Callable[[Answers], FlinkRest]

OVERVIEW = {"flink-version": "1.19.3", "taskmanagers": 1, "slots-total": 2, "slots-available": 2}


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Responds like a job manager; the dict may change meanwhile."""
    servers: list[ThreadingHTTPServer] = []

    def start(answers: Answers) -> FlinkRest:
        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                status, body = answers.get(self.path.removeprefix("/v1/"), (404, {"errors": ["Not found."]}))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            do_GET = do_POST = do_PATCH = _answer  # noqa: N815, the names are http.server's

            def log_message(self, *_: Any) -> None:
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return FlinkRest(f"127.0.0.1:{servers[-1].server_port}")

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def jar(tmp_path: Path) -> str:
    """Stands for a job server that the user provides."""
    path = tmp_path / "job-server.jar"
    path.touch()
    return f"--flink_job_server_jar={path}"


def value_of(made: RunnerPlan, name: str) -> str | None:
    """The value that Beam uses: for a repeated option, the last one."""
    given = [one.partition("=")[2] for one in made.arguments if one.partition("=")[0] == f"--{name}"]
    return given[-1] if given else None


def test_without_a_master_flink_is_embedded_and_the_workers_are_in_this_process(jar: str) -> None:
    made = plan([jar])
    assert value_of(made, "flink_master") == "[local]"
    assert value_of(made, "environment_type") == "LOOPBACK"
    assert (made.firing, made.frontiers) == ("each", "state")
    configuration = Path(value_of(made, "flink_conf_dir") or "") / "flink-conf.yaml"
    assert "execution.buffer-timeout" in configuration.read_text()


def test_a_cluster_gets_the_jar_and_finds_its_workers_in_a_pool_beside_each_task_manager(
    jar: str, serve: Serve
) -> None:
    made = plan([jar, "--flink-master", serve({"overview": (200, OVERVIEW)}).address])
    assert value_of(made, "environment_type") == "EXTERNAL"
    assert value_of(made, "environment_config") == "localhost:50000"
    assert "--flink_submit_uber_jar" in made.arguments
    assert made.job is not None


def test_bundles_and_checkpoints_are_bounded_in_time_unless_the_user_says_otherwise(jar: str) -> None:
    assert value_of(plan([jar]), "max_bundle_time_mills") == "10"
    assert value_of(plan([jar, "--max_bundle_time_mills=20"]), "max_bundle_time_mills") == "20"
    assert value_of(plan([jar]), "checkpointing_interval") == "10000"
    assert value_of(plan([jar, "--checkpointing_interval=500"]), "checkpointing_interval") == "500"


def test_each_job_has_a_name_of_its_own_by_which_it_is_found(jar: str) -> None:
    assert value_of(plan([jar]), "job_name") != value_of(plan([jar]), "job_name")
    assert value_of(plan([jar, "--job_name=mine"]), "job_name") == "mine"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--savepoint-on-stop", "/tmp/s"], "--savepoint-on-stop needs a cluster"),
        (["--savepoint_path", "/tmp/s"], "--savepoint_path needs a cluster"),
        (["--environment_type=EXTERNAL"], "embedded Flink"),
        (["--flink-master", "flink.example:8081", "--environment_type=LOOPBACK"], "cannot reach"),
        (["--flink-master", "no port"], "is not HOST:PORT"),
        (["--checkpointing_interval=0"], "must be greater than 0"),
        (["--output_executable_path=job.jar", "--environment_type=LOOPBACK"], "cannot reach"),
        (["--output_executable_path=job.jar", "--savepoint-on-stop=/tmp/s"], "has no effect"),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason(arguments: list[str], reason: str, jar: str) -> None:
    with pytest.raises(OptionsError, match=reason):
        plan([jar, *arguments])


def test_a_cluster_that_does_not_answer_is_named_with_the_remedy() -> None:
    with pytest.raises(FlinkUnreachableError, match="make flink-up"):
        check_cluster(FlinkRest(f"127.0.0.1:{free_port()}"), 1)


@pytest.mark.parametrize(
    ("cluster", "parallelism", "reason"),
    [
        ({"flink-version": "1.18.1"}, 1, "is Flink 1.18.1"),
        ({"slots-available": 1}, 2, "1 of 2 task slots free"),
        ({"slots-available": 0}, -1, "needs 1"),
    ],
)
def test_a_cluster_that_cannot_run_the_job_is_refused(
    serve: Serve, cluster: dict[str, Any], parallelism: int, reason: str
) -> None:
    with pytest.raises(FlinkJobError, match=reason):
        check_cluster(serve({"overview": (200, {**OVERVIEW, **cluster})}), parallelism)


def jobs(*states: str) -> tuple[int, Any]:
    entries = [
        {"jid": f"id-{number}", "name": "mine", "state": state, "start-time": number}
        for number, state in enumerate(states)
    ]
    return 200, {"jobs": entries}


def test_a_job_is_found_by_its_name_and_the_newest_counts(serve: Serve) -> None:
    assert FlinkJob(serve({"jobs/overview": jobs("FAILED", "RUNNING")}), "mine").job_id == "id-1"


def test_a_job_keeps_running_while_its_job_manager_is_replaced(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    answers: Answers = {"jobs/overview": jobs("RUNNING"), "jobs/id-0": (200, {"state": "RUNNING"})}
    job = FlinkJob(serve(answers), "mine")
    assert job.ended() is None
    for away in ((503, {}), (404, {"errors": ["Job id-0 not found"]})):
        answers["jobs/id-0"] = away
        assert job.ended() is None
    assert caplog.text.count("waiting for it") == 1, "it is logged once"


def test_a_job_that_failed_says_why(serve: Serve) -> None:
    failures = {"exceptionHistory": {"entries": [{"stacktrace": "java.lang.Exception: no models topic\n\tat x"}]}}
    answers: Answers = {
        "jobs/overview": jobs("RUNNING"),
        "jobs/id-0": (200, {"state": "FAILED"}),
        "jobs/id-0/exceptions": (200, failures),
    }
    assert "no models topic" in (FlinkJob(serve(answers), "mine").ended() or "")


def test_a_restart_is_logged_once_with_its_innermost_reason(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    trace = (
        "java.lang.RuntimeException: Failed to finish remote bundle\n\tat org.apache.beam.X\n"
        "Caused by: java.lang.RuntimeException: Error received from SDK harness for instruction 1: Traceback\n"
        "  File \"x.py\", line 1, in load\nModuleNotFoundError: No module named 'transforms'\n\tat org.apache.Y\n"
    )
    answers: Answers = {
        "jobs/overview": jobs("RUNNING"),
        "jobs/id-0": (200, {"state": "RESTARTING"}),
        "jobs/id-0/exceptions": (200, {"exceptionHistory": {"entries": [{"stacktrace": trace}]}}),
    }
    job = FlinkJob(serve(answers), "mine")
    assert job.ended() is None
    assert job.ended() is None
    assert caplog.messages.count("the Flink job restarts: ModuleNotFoundError: No module named 'transforms'") == 1


def test_a_job_that_is_not_cancelled_in_time_is_an_error(serve: Serve) -> None:
    answers: Answers = {
        "jobs/overview": jobs("RUNNING"),
        "jobs/id-0?mode=cancel": (202, {}),
        "jobs/id-0": (200, {"state": "CANCELLING"}),
    }
    with pytest.raises(FlinkJobError, match="did not end within 1 s: it is CANCELLING"):
        FlinkJob(serve(answers), "mine").stop(seconds=1.0)


def test_to_stop_a_job_waits_for_a_job_manager_that_is_being_replaced(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    answers: Answers = {"jobs/overview": jobs("RUNNING"), "jobs/id-0": (503, {}), "jobs/id-0?mode=cancel": (202, {})}
    job = FlinkJob(serve(answers), "mine")
    steps = iter([(404, {"errors": ["Job id-0 not found"]}), (200, {"state": "RUNNING"}), (200, {"state": "CANCELED"})])

    def replaced() -> None:
        for step in steps:
            time.sleep(0.7)
            answers["jobs/id-0"] = step

    thread = threading.Thread(target=replaced)
    thread.start()
    job.stop()
    thread.join()
    assert next(steps, None) is None, "it has waited for the last answer"
    assert caplog.text.count("waiting for it") == 1, "it is logged once"


def test_a_cluster_that_is_gone_is_given_up(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flink_job, "_REPLACED_SECONDS", 0.5)
    job = FlinkJob(serve({"jobs/overview": jobs("RUNNING"), "jobs/id-0": (503, {})}), "mine")
    with pytest.raises(FlinkUnreachableError, match="no leader"):
        job.stop()


def test_a_job_that_ended_by_itself_before_it_was_stopped_is_an_error(serve: Serve) -> None:
    job = FlinkJob(serve({"jobs/overview": jobs("RUNNING"), "jobs/id-0": (200, {"state": "FAILED"})}), "mine")
    with pytest.raises(FlinkJobError, match="mine had ended by itself: FAILED"):
        job.stop()


def test_a_savepoint_that_fails_leaves_the_job_and_says_why(serve: Serve) -> None:
    failure = {"failure-cause": {"stack-trace": "java.io.IOException: no such bucket\n\tat x"}}
    answers: Answers = {
        "jobs/overview": jobs("RUNNING"),
        "jobs/id-0": (200, {"state": "RUNNING"}),
        "jobs/id-0/savepoints": (202, {"request-id": "r"}),
        "jobs/id-0/savepoints/r": (200, {"status": {"id": "COMPLETED"}, "operation": failure}),
    }
    with pytest.raises(FlinkJobError, match="no such bucket"):
        FlinkJob(serve(answers), "mine", "s3://bucket/savepoints").stop()
