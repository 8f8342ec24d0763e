"""A client for the part of Flink's REST API that running a job needs.

https://nightlies.apache.org/flink/flink-docs-release-1.19/docs/ops/rest_api/
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import urllib3

from models.errors import FlinkJobError, FlinkUnreachableError

_POLL_SECONDS = 0.2

# The last line of a Python traceback.
_PYTHON_ERROR = re.compile(r"(?!java\.|org\.|Caused by)([A-Za-z_]\w*\.)*[A-Za-z_]\w*(Error|Exception|Exit|Interrupt)\b")


@dataclass(frozen=True)
class ClusterOverview:
    """The version and the size of a cluster.

    Attributes:
      version: the version of Flink, for example "1.19.3".
      task_managers, slots, free_slots: the number of task managers, of task slots, and of free ones.
    """

    version: str
    task_managers: int
    slots: int
    free_slots: int


class FlinkRest:
    """A client of one cluster. Thread-safe.

    Args:
      address: HOST:PORT of the job manager's REST endpoint, with or without http:// or https://.
      seconds: the timeout of one request.
    """

    def __init__(self, address: str, seconds: float = 10.0) -> None:
        self.address = (address if "://" in address else f"http://{address}").rstrip("/")
        retries = urllib3.Retry(total=None, connect=0, read=0, redirect=3)  # callers decide whether to retry
        self._pool = urllib3.PoolManager(timeout=urllib3.Timeout(total=seconds), retries=retries)

    def overview(self) -> ClusterOverview:
        """The version and the size of the cluster; raises what `ask` raises."""
        found = self.ask("GET", "overview")
        return ClusterOverview(
            found["flink-version"], found["taskmanagers"], found["slots-total"], found["slots-available"]
        )

    def job_named(self, name: str) -> str | None:
        """The id of the newest job with the name; None when there is none."""
        jobs = [job for job in self.ask("GET", "jobs/overview")["jobs"] if job["name"] == name]
        newest = max(jobs, key=lambda job: int(job["start-time"]), default=None)
        return str(newest["jid"]) if newest else None

    def job_state(self, job_id: str) -> str:
        """The state of a job, by Flink's name: CREATED, RUNNING, RESTARTING, FAILED, CANCELED, FINISHED, ..."""
        return str(self.ask("GET", f"jobs/{job_id}")["state"])

    def last_failure(self, job_id: str) -> str:
        """The reason of a job's last failure, in a line or two; empty when it never failed."""
        history = self.ask("GET", f"jobs/{job_id}/exceptions").get("exceptionHistory", {}).get("entries", [])
        return essence(str(history[0]["stacktrace"])) if history else ""

    def cancel(self, job_id: str) -> None:
        """Requests the cancellation of a job and returns at once; `job_state` shows when the job has ended."""
        self.ask("PATCH", f"jobs/{job_id}?mode=cancel")

    def savepoint(self, job_id: str, folder: str, cancel: bool, seconds: float = 120.0) -> str:
        """Takes a savepoint, and optionally cancels the job with it.

        Args:
          job_id: the job.
          folder: the folder for the savepoint; all task managers must be able to reach it.
          cancel: whether to cancel the job once the savepoint is complete.
          seconds: how long the savepoint may take.

        Returns:
          The savepoint's location.

        Raises:
          FlinkJobError: the savepoint fails or is not complete in time.
        """
        body = {"target-directory": folder, "cancel-job": cancel}
        request = self.ask("POST", f"jobs/{job_id}/savepoints", body)["request-id"]
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            answer = self.ask("GET", f"jobs/{job_id}/savepoints/{request}")
            if answer["status"]["id"] == "COMPLETED":
                return _location(answer["operation"], folder)
            time.sleep(_POLL_SECONDS)
        raise FlinkJobError(
            f"the savepoint into {folder} was not complete after {seconds:.0f} s; the job keeps running"
        )

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Sends a request and returns the JSON of the answer.

        Raises:
          FlinkUnreachableError: the cluster does not answer, or has no leader yet.
          FlinkJobError: the cluster rejects the request.
        """
        try:
            answer = self._pool.request(method, f"{self.address}/v1/{path}", json=body)
        except urllib3.exceptions.HTTPError as error:
            reason = type(getattr(error, "reason", error)).__name__
            raise FlinkUnreachableError(
                f"no Flink cluster answers at {self.address}: {reason}; check that it runs (`make flink-up` starts "
                "one on this machine) and that --flink-master HOST:PORT is its REST endpoint"
            ) from error
        if answer.status == 503:  # a job manager that is just becoming the leader
            raise FlinkUnreachableError(f"the Flink cluster at {self.address} has no leader yet")
        if answer.status >= 400:
            raise FlinkJobError(f"Flink at {self.address} rejected {method} {path}: {_errors(answer.data)}")
        return json.loads(answer.data) if answer.data else {}


def essence(stack_trace: str) -> str:
    r"""The innermost error of a Java stack trace, which may contain a Python traceback.

    >>> essence("java.lang.RuntimeException: job failed\n\tat org.Task\nCaused by: java.io.IOException: disk full")
    'java.io.IOException: disk full'
    """
    of_python = [line.strip() for line in stack_trace.splitlines() if _PYTHON_ERROR.match(line)]
    of_java = [line.strip() for line in stack_trace.splitlines() if line.startswith("Caused by: ")]
    innermost = (of_python or of_java or stack_trace.splitlines()[:1] or [""])[-1]
    return innermost.removeprefix("Caused by: ")[:600]


def _location(operation: Mapping[str, Any], folder: str) -> str:
    failure = operation.get("failure-cause")
    if failure is not None:
        raise FlinkJobError(f"the savepoint into {folder} failed: {_first_lines(str(failure['stack-trace']))}")
    return str(operation["location"])


def _errors(data: bytes) -> str:
    try:
        return _first_lines("; ".join(str(error) for error in json.loads(data)["errors"]))
    except (ValueError, KeyError, TypeError):
        return data.decode(errors="replace")[:300]


def _first_lines(text: str) -> str:
    return " ".join(text.split("\n\tat ")[0].split())[:600]
