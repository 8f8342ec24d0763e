"""Background processes, found again by another process of ours and ended by their ids."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from flink.cluster.errors import ClusterError
from flink.cluster.layout import NETWORK_NAMESPACE, log_folder, node_folder
from runners.local.server_process import end_of_log

_POLL_SECONDS = 0.1
# Not `ip netns exec`, which would also hide the cgroups under /sys.
IN_NETWORK_NAMESPACE = ("nsenter", f"--net=/run/netns/{NETWORK_NAMESPACE}")


@dataclass(frozen=True)
class Recorded:
    """A process by its id and its start time, because the system uses ids again."""

    process_id: int
    start_time: str

    @property
    def running(self) -> bool:
        """Whether the process runs."""
        return self.start_time != "" and _start_time(self.process_id) == self.start_time


def start(
    name: str, command: Sequence[str | Path], *, inside: bool = True, environment: Mapping[str, str] | None = None
) -> None:
    """Starts a program in the background, with its output in the log folder.

    Args:
      name: the name of its log and of its record.
      command: the program and its arguments.
      inside: whether it runs in the node's network namespace.
      environment: variables that are added to those of this process.
    """
    words = [*(IN_NETWORK_NAMESPACE if inside else ()), *map(str, command)]
    log_folder().mkdir(parents=True, exist_ok=True)
    _records().mkdir(parents=True, exist_ok=True)
    with (log_folder() / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            words,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    record = Recorded(process.pid, _start_time(process.pid))
    (_records() / f"{name}.json").write_text(json.dumps(asdict(record)), encoding="utf-8")


def find(name: str) -> Recorded | None:
    """The running process of this name; None if it does not run."""
    try:
        record = Recorded(**json.loads((_records() / f"{name}.json").read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    return record if record.running else None


def check(name: str) -> None:
    """Raises ClusterError, with the end of the log, if the process has ended."""
    if find(name) is None:
        raise ClusterError(f"{name} ended; the end of its log:\n{end_of_log(log_folder() / f'{name}.log')}")


def stop(name: str, seconds: float = 20.0) -> None:
    """Ends a process with SIGTERM, or with SIGKILL if that takes longer. Does nothing if it does not run."""
    record = find(name)
    if record is not None:
        end(record, seconds)
    (_records() / f"{name}.json").unlink(missing_ok=True)


def kill(name: str) -> None:
    """Kills a process with SIGKILL. Does nothing if it does not run."""
    stop(name, seconds=0.0)


def end(record: Recorded, seconds: float) -> None:
    """Ends a process with SIGTERM, or with SIGKILL after so many seconds, and returns when it is gone."""
    for number, limit in ((signal.SIGTERM, seconds), (signal.SIGKILL, 10.0)):
        if limit > 0 and record.running:
            os.kill(record.process_id, number)
            deadline = time.monotonic() + limit
            while record.running and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)


def started_with(text: str) -> list[Recorded]:
    """The running processes whose command line contains a text, such as the path of our own socket."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and int(folder.name) != os.getpid():
            try:
                words = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if text.encode() in words:
                found.append(Recorded(int(folder.name), _start_time(int(folder.name))))
    return found


def _start_time(process_id: int) -> str:
    """When a process was started, in the kernel's ticks; empty if it has ended."""
    try:
        fields = Path(f"/proc/{process_id}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def _records() -> Path:
    return node_folder() / "processes"
