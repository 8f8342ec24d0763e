"""A real Flink cluster on this machine, with Beam's Python workers, for tests, benchmarks and development.

`python -m runners.flink up`, `status` and `down` keep one in the background (runners/flink/background.py).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from models.errors import FlinkJobError, FlinkUnreachableError, OptionsError, ServingError
from runners.flink.configuration import (
    JAVA_OPTIONS,
    METASPACE,
    TaskManagerMemory,
    cluster_settings,
    high_availability_settings,
    write_configuration,
    zookeeper_settings,
)
from runners.flink.distribution import flink_distribution
from runners.flink.rest import FlinkRest
from runners.local.free_ports import HOST, free_port, is_free
from runners.local.java_tools import java
from runners.local.server_process import ServerProcess
from runners.local.service import LocalService

NEEDED_BY = "the local Flink cluster"
JOB_MANAGER_CLASS = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
TASK_MANAGER_CLASS = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
ZOOKEEPER_CLASS = "org.apache.flink.shaded.zookeeper3.org.apache.zookeeper.server.ZooKeeperServerMain"
POLL_SECONDS = 0.1
_APPLICATION = Path(__file__).resolve().parents[2]
ANSWER_SECONDS = 2.0


class FlinkClusterError(ServingError):
    """The local Flink cluster did not come up, or lacks the requested process; the message names its logs."""


@dataclass(frozen=True)
class FlinkClusterSettings:
    """The settings of a local cluster.

    Attributes:
      task_managers: the initial number of task managers.
      slots: the number of task slots of each task manager.
      job_managers: the initial number of job managers; more than one needs high availability.
      high_availability: whether ZooKeeper keeps the state of jobs, so that another job manager can take over.
      rest_port: the port of the REST API and the web pages of the first job manager; None for a free port.
      worker_pool_port: the port of the pool of Python workers; None for a free port.
      work_folder: the folder for logs, checkpoints and savepoints; None for a temporary folder that `close` removes.
      job_manager_heap: the heap of a job manager, in megabytes.
      task_manager_memory: the memory of each task manager.
      properties: settings of Flink that override ours, for example {"state.backend.type": "rocksdb"}.
      worker_environment: environment variables of the Python workers, in addition to those of this process.
      start_seconds: how long it may take until all processes are registered.
      stop_seconds: how long a process may take to shut down before it is killed.
    """

    task_managers: int = 1
    slots: int = 2
    job_managers: int = 1
    high_availability: bool = False
    rest_port: int | None = None
    worker_pool_port: int | None = None
    work_folder: Path | None = None
    job_manager_heap: int = 600
    task_manager_memory: TaskManagerMemory = field(default_factory=TaskManagerMemory)
    properties: Mapping[str, str] = field(default_factory=dict)
    worker_environment: Mapping[str, str] = field(default_factory=dict)
    start_seconds: float = 90.0
    stop_seconds: float = 15.0

    def __post_init__(self) -> None:
        if min(self.task_managers, self.slots, self.job_managers) < 1:
            raise OptionsError("a Flink cluster needs at least one job manager, one task manager and one slot")
        if self.job_managers > 1 and not self.high_availability:
            raise OptionsError("several job managers need high availability, which elects the leader")


class LocalFlinkCluster(LocalService):
    """Job managers, task managers and a pool of Python workers, each in its own process.

    Life cycle: `start` returns when all processes are registered. Single processes can then be killed and started, and
    `wait_until_ready` waits until the cluster has noticed. `close` ends everything and removes a temporary work folder.
    As a context manager it starts and closes. No process outlives this one. Not thread-safe.
    """

    def __init__(self, settings: FlinkClusterSettings | None = None) -> None:
        self.settings = settings or FlinkClusterSettings()
        super().__init__(self.settings.work_folder, "beam-serving-flink-")
        self._rest_ports = [self.settings.rest_port or free_port()]
        self._rest_ports += [free_port() for _ in range(1, self.settings.job_managers)]
        self._worker_pool_port = self.settings.worker_pool_port or free_port()
        self._zookeeper_port = free_port()
        self._zookeeper: ServerProcess | None = None
        # By number, the oldest first; the oldest job manager is the leader.
        self._job_managers: dict[int, ServerProcess] = {}
        self._task_managers: dict[int, ServerProcess] = {}
        self._task_managers_ever = 0
        self._worker_pool: ServerProcess | None = None
        self._launcher, self._distribution = "", Path()

    @property
    def rest_address(self) -> str:
        """HOST:PORT of the REST API and the web pages of the leading job manager, a value for --flink-master.

        Raises:
          FlinkClusterError: no job manager runs.
        """
        if not self._job_managers:
            raise FlinkClusterError("The local Flink cluster has no job manager now: start one.")
        return f"{HOST}:{self._rest_ports[next(iter(self._job_managers))]}"

    @property
    def worker_pool_address(self) -> str:
        """HOST:PORT of the pool of Python workers, a value for Beam's --environment_config with EXTERNAL."""
        return f"{HOST}:{self._worker_pool_port}"

    @property
    def log_folder(self) -> Path:
        """The folder with a .out file for each process, and a .log file for each Java process."""
        return self.work_folder / "logs"

    @property
    def configuration_folder(self) -> Path:
        """The cluster's configuration folder (Flink's conf/), a value for Beam's --flink_conf_dir."""
        return self.work_folder / "conf"

    @property
    def checkpoint_folder(self) -> Path:
        """The folder for checkpoints."""
        return self.work_folder / "checkpoints"

    @property
    def savepoint_folder(self) -> Path:
        """The folder for savepoints."""
        return self.work_folder / "savepoints"

    @property
    def task_managers(self) -> tuple[int, ...]:
        """The numbers of the started task managers that were not killed, the oldest first."""
        return tuple(self._task_managers)

    @property
    def job_managers(self) -> tuple[int, ...]:
        """The numbers of the started job managers that were not killed; the first one is the leader."""
        return tuple(self._job_managers)

    def start(self) -> None:
        """Starts all processes and returns when they are registered. Does nothing if the cluster runs.

        Raises:
          JavaToolError: Java is missing.
          FlinkDistributionError: Flink cannot be downloaded.
          FlinkClusterError: a port is in use, or a process ends or does not register in time.
        """
        if self._processes():
            return
        self._launcher, self._distribution = java(NEEDED_BY), flink_distribution()
        self._require_free_ports()
        self._write_configuration()
        if self.settings.high_availability:
            self._start_zookeeper()
        self.start_worker_pool()
        for _ in range(self.settings.task_managers):
            self.start_task_manager()
        for number in range(self.settings.job_managers):
            self.start_job_manager()
            if number == 0:
                # The others start only when this one is up, so that this one becomes the leader.
                self._wait(lambda: self._registered() is not None, "the first job manager")
        self.wait_until_ready()

    def wait_until_ready(self, seconds: float | None = None) -> None:
        """Waits until all ports are open and exactly the running task managers have registered their slots.

        Args:
          seconds: how long to wait; None for `start_seconds` of the settings.

        Raises:
          FlinkClusterError: the cluster is not ready in time, or a process ends by itself.
        """
        self._wait(self._is_ready, "its task managers", seconds)

    def start_job_manager(self) -> int:
        """Starts another job manager, on the port of a killed one if there is one, and returns its number."""
        number = next(number for number in range(len(self._rest_ports) + 1) if number not in self._job_managers)
        if number == len(self._rest_ports):
            self._rest_ports.append(free_port())
        port = self._rest_ports[number]
        memory = ["-Xms128m", f"-Xmx{self.settings.job_manager_heap}m", f"-XX:MaxMetaspaceSize={METASPACE}m"]
        arguments = ["--configDir", str(self.configuration_folder), f"-Drest.port={port}", f"-Drest.bind-port={port}"]
        self._job_managers[number] = self._java(f"job-manager-{number}", JOB_MANAGER_CLASS, memory, arguments)
        return number

    def start_task_manager(self) -> int:
        """Starts another task manager and returns its number; `wait_until_ready` waits until it is registered."""
        number = self._task_managers_ever
        self._task_managers_ever += 1
        name = f"task-manager-{number}"
        arguments = ["--configDir", str(self.configuration_folder), f"-Dtaskmanager.resource-id={name}"]
        memory = ["-Xms256m", *self.settings.task_manager_memory.java_options()]
        self._task_managers[number] = self._java(name, TASK_MANAGER_CLASS, memory, arguments)
        return number

    def start_worker_pool(self) -> None:
        """Starts the pool of Python workers. Does nothing if it runs."""
        if self._worker_pool is not None:
            return
        command = [sys.executable, "-m", "runners.worker.pool", "--port", str(self._worker_pool_port)]
        # Makes our packages importable in the pool, because a checkout may not be installed.
        python_path = os.pathsep.join([str(_APPLICATION), os.environ.get("PYTHONPATH", "")])
        environment = {"PYTHONPATH": python_path, **self.settings.worker_environment}
        self._worker_pool = ServerProcess(command, self.log_folder / "worker-pool.out", environment)

    def kill_job_manager(self, number: int | None = None) -> int:
        """Kills a job manager with SIGKILL, like a crash, and returns its number; by default, kills the leader."""
        return _kill_one(self._job_managers, number, "job manager")

    def kill_task_manager(self, number: int | None = None) -> int:
        """Kills a task manager with SIGKILL, like a crash, and returns its number; by default, kills the oldest."""
        return _kill_one(self._task_managers, number, "task manager")

    def worker_processes(self) -> list[int]:
        """The process ids of the running Python workers; empty while no job runs."""
        return self._worker_pool.children() if self._worker_pool is not None else []

    def kill_worker(self) -> int:
        """Kills a Python worker with SIGKILL, like a crash, and returns its process id.

        Raises:
          FlinkClusterError: no worker runs.
        """
        workers = self.worker_processes()
        if not workers:
            raise FlinkClusterError("The local Flink cluster runs no Python worker now: start a job first.")
        os.kill(workers[0], 9)
        return workers[0]

    def kill_worker_pool(self) -> None:
        """Kills the pool and all its workers, like a crash; `start_worker_pool` restarts it on the same port."""
        if self._worker_pool is not None:
            self._worker_pool.kill()
            self._worker_pool = None

    def _end(self, *, in_order: bool) -> None:
        processes = self._processes().values()
        if in_order:
            for process in processes:
                process.ask_to_stop()
            for process in processes:
                process.stop(self.settings.stop_seconds)
        for process in processes:
            process.kill()
        self._job_managers, self._task_managers, self._worker_pool, self._zookeeper = {}, {}, None, None

    def _require_free_ports(self) -> None:
        for port in (*self._rest_ports, self._worker_pool_port):
            if not is_free(port):
                raise FlinkClusterError(
                    f"Port {port} is in use: stop its server, or choose another port (--rest-port, --worker-pool-port)."
                )

    def _write_configuration(self) -> None:
        for folder in (self.log_folder, self.work_folder / "temporary"):
            folder.mkdir(parents=True, exist_ok=True)
        ours = cluster_settings(self.work_folder, free_port(), self.settings.slots, self.settings.task_manager_memory)
        if self.settings.high_availability:
            ours |= high_availability_settings(self.work_folder, self._zookeeper_port)
        write_configuration(self.configuration_folder, {**ours, **self.settings.properties})

    def _start_zookeeper(self) -> None:
        settings = zookeeper_settings(self.work_folder / "zookeeper", self._zookeeper_port)
        path = self.configuration_folder / "zoo.cfg"
        path.write_text("".join(f"{key}={value}\n" for key, value in settings.items()), encoding="utf-8")
        self._zookeeper = self._java("zookeeper", ZOOKEEPER_CLASS, ["-Xmx128m"], [str(path)])
        self._wait(lambda: not is_free(self._zookeeper_port), "ZooKeeper")

    def _java(self, name: str, main_class: str, memory: list[str], arguments: list[str]) -> ServerProcess:
        options = [
            f"-Dlog.file={self.log_folder / name}.log",
            f"-Dlog4j.configurationFile={(self.configuration_folder / 'log4j.properties').as_uri()}",
        ]
        command = [self._launcher, *memory, *JAVA_OPTIONS, *options, "-cp", f"{self._distribution}/lib/*", main_class]
        environment = {
            "FLINK_CONF_DIR": str(self.configuration_folder),
            "FLINK_LIB_DIR": str(self._distribution / "lib"),
            "FLINK_PLUGINS_DIR": str(self._distribution / "plugins"),
        }
        return ServerProcess([*command, *arguments], self.log_folder / f"{name}.out", environment)

    def _processes(self) -> dict[str, ServerProcess]:
        """The processes that were started and not killed, by name; a process comes before those it depends on."""
        found = {f"task manager {number}": process for number, process in self._task_managers.items()}
        found |= {f"job manager {number}": process for number, process in self._job_managers.items()}
        if self._worker_pool is not None:
            found["worker pool"] = self._worker_pool
        if self._zookeeper is not None:
            found["ZooKeeper"] = self._zookeeper
        return found

    def _is_ready(self) -> bool:
        wanted = {f"task-manager-{number}" for number in self._task_managers}
        listening = [self._rest_ports[number] for number in self._job_managers]
        if self._worker_pool is not None:
            listening.append(self._worker_pool_port)
        return self._registered() == wanted and not any(is_free(port) for port in listening)

    def _registered(self) -> set[str] | None:
        """The names of the task managers that have registered slots; None while the cluster does not answer."""
        if is_free(int(self.rest_address.rpartition(":")[2])):
            # It takes seconds until the port is open; until then a client would only log failed connections.
            return None
        try:
            found = FlinkRest(self.rest_address, ANSWER_SECONDS).ask("GET", "taskmanagers")
        except (FlinkUnreachableError, FlinkJobError):
            return None
        return {str(one["id"]) for one in found["taskmanagers"] if one["slotsNumber"]}

    def _wait(self, condition: Callable[[], bool], what: str, seconds: float | None = None) -> None:
        limit = self.settings.start_seconds if seconds is None else seconds
        deadline = time.monotonic() + limit
        while not condition():
            for name, process in self._processes().items():
                if not process.running:
                    raise FlinkClusterError(
                        f"The {name} of the local Flink cluster ended by itself:\n{self._last_output(process)}"
                    )
            if time.monotonic() > deadline:
                last = "\n".join(self._last_output(process) for process in self._processes().values())
                raise FlinkClusterError(f"The local Flink cluster waited {limit:.0f} s for {what}:\n{last}")
            time.sleep(POLL_SECONDS)

    def _last_output(self, process: ServerProcess) -> str:
        """The end of a process's output, and its log from the last error on."""
        log = process.output.with_suffix(".log")
        logged = log.read_text(errors="replace") if log.exists() else ""
        error = logged.rfind(" ERROR ")
        lines = (logged[-2000:] if error < 0 else logged[error + 1 :]).splitlines()
        # Without the lines of stack traces, so that the causes between them fit into the limit.
        causes = "\n".join(line for line in lines if not line.startswith("\tat "))[:2000]
        return f"{process.log_end()}{causes}\n({process.output})"


def _kill_one(processes: dict[int, ServerProcess], number: int | None, what: str) -> int:
    chosen = next(iter(processes), None) if number is None else number
    if chosen is None or chosen not in processes:
        which = "" if number is None else f" {number}"
        raise FlinkClusterError(f"The local Flink cluster runs no {what}{which} now: start one.")
    processes.pop(chosen).kill()
    return chosen
