"""Flink's REST API, as far as running one job needs it.

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
    """What a cluster has.

    Attributes:
      version: Flink's, for example "1.19.3".
      task_managers, slots, free_slots: how many.
    """

    version: str
    task_managers: int
    slots: int
    free_slots: int


class FlinkRest:
    """Asks one cluster. Thread-safe.

    Args:
      address: HOST:PORT of the job manager's REST endpoint, with or without http:// or https://.
      seconds: how long one answer may take.
    """

    def __init__(self, address: str, seconds: float = 10.0) -> None:
        self.address = (address if "://" in address else f"http://{address}").rstrip("/")
        retries = urllib3.Retry(total=None, connect=0, read=0, redirect=3)  # whoever asks knows whether to ask again
        self._pool = urllib3.PoolManager(timeout=urllib3.Timeout(total=seconds), retries=retries)

    def overview(self) -> ClusterOverview:
        """What the cluster has; raises FlinkUnreachableError."""
        found = self.ask("GET", "overview")
        return ClusterOverview(
            found["flink-version"], found["taskmanagers"], found["slots-total"], found["slots-available"]
        )

    def job_named(self, name: str) -> str | None:
        """The id of the newest job of that name; None when there is none."""
        jobs = [job for job in self.ask("GET", "jobs/overview")["jobs"] if job["name"] == name]
        newest = max(jobs, key=lambda job: int(job["start-time"]), default=None)
        return str(newest["jid"]) if newest else None

    def job_state(self, job_id: str) -> str:
        """The state as Flink names it: CREATED, RUNNING, RESTARTING, FAILED, CANCELED, FINISHED, ..."""
        return str(self.ask("GET", f"jobs/{job_id}")["state"])

    def last_failure(self, job_id: str) -> str:
        """Why a job failed last, in a line or two; empty when it never did."""
        history = self.ask("GET", f"jobs/{job_id}/exceptions").get("exceptionHistory", {}).get("entries", [])
        return essence(str(history[0]["stacktrace"])) if history else ""

    def cancel(self, job_id: str) -> None:
        """Asks for the cancellation of a job; `wait_ended` tells when it is done."""
        self.ask("PATCH", f"jobs/{job_id}?mode=cancel")

    def savepoint(self, job_id: str, folder: str, cancel: bool, seconds: float = 120.0) -> str:
        """Takes a savepoint into a folder that all task managers reach, and cancels the job with it if asked.

        Returns:
          The savepoint's location.

        Raises:
          FlinkJobError: when the savepoint fails, or is not there in time.
        """
        body = {"target-directory": folder, "cancel-job": cancel}
        request = self.ask("POST", f"jobs/{job_id}/savepoints", body)["request-id"]
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            answer = self.ask("GET", f"jobs/{job_id}/savepoints/{request}")
            if answer["status"]["id"] == "COMPLETED":
                return _location(answer["operation"], folder)
            time.sleep(_POLL_SECONDS)
        raise FlinkJobError(f"the savepoint into {folder} was not there after {seconds:.0f} s; the job goes on")

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """One request.

        Raises:
          FlinkUnreachableError: when nothing answers.
          FlinkJobError: when the cluster refuses.
        """
        try:
            answer = self._pool.request(method, f"{self.address}/v1/{path}", json=body)
        except urllib3.exceptions.HTTPError as error:
            reason = type(getattr(error, "reason", error)).__name__
            raise FlinkUnreachableError(
                f"no Flink cluster answers at {self.address}: {reason}; see whether it runs "
                "(`make flink-up` starts one here), and name its REST endpoint with --flink-master HOST:PORT"
            ) from error
        if answer.status == 503:  # a job manager that is just becoming the leader
            raise FlinkUnreachableError(f"the Flink cluster at {self.address} has no leader yet")
        if answer.status >= 400:
            raise FlinkJobError(f"Flink at {self.address} refused {method} {path}: {_errors(answer.data)}")
        return json.loads(answer.data) if answer.data else {}


def essence(stack_trace: str) -> str:
    r"""What a stack trace of Java, with one of Python in it perhaps, comes down to: its innermost error.

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
