"""A real Flink cluster on this machine, with Beam's Python workers, for tests, benchmarks and development.

`python -m runners.flink.cluster up`, `status` and `down` keep one in the background (runners/flink/background.py).
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
    """The local Flink cluster did not come up, or has not what was asked for; the message says where its logs are."""


@dataclass(frozen=True)
class FlinkClusterSettings:
    """How a local cluster is to be.

    Attributes:
      task_managers: how many to start with.
      slots: of each task manager.
      job_managers: how many to start with; more than one needs high availability.
      high_availability: keep what runs in a ZooKeeper, so that another job manager goes on with it.
      rest_port: where the REST API and the web pages of the first job manager are; drawn among the free ones when None.
      worker_pool_port: where task managers ask for Python workers; drawn when None.
      work_folder: logs, checkpoints, savepoints; when None, a temporary folder that goes when the cluster is closed.
      job_manager_heap: in megabytes.
      task_manager_memory: of each.
      properties: settings of Flink that override ours, for example {"state.backend.type": "rocksdb"}.
      worker_environment: environment variables of the Python workers, beyond this process's own.
      start_seconds: how long it may take until all is registered.
      stop_seconds: how long a process may take to end in order before it is killed.
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
            raise OptionsError("a Flink cluster needs one job manager, one task manager and one slot at least")
        if self.job_managers > 1 and not self.high_availability:
            raise OptionsError("several job managers need high availability, which tells them who leads")


class LocalFlinkCluster(LocalService):
    """Job managers, task managers and one pool of Python workers, each a process of its own.

    Life cycle: `start` returns when all are registered. Then parts can be killed and started one by one, and
    `wait_until_ready` waits until the cluster knows of it. `close` ends everything and removes a temporary work folder.
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
        # By number, the oldest first: of the job managers that is the one that leads.
        self._job_managers: dict[int, ServerProcess] = {}
        self._task_managers: dict[int, ServerProcess] = {}
        self._task_managers_ever = 0
        self._worker_pool: ServerProcess | None = None
        self._launcher, self._distribution = "", Path()

    @property
    def rest_address(self) -> str:
        """HOST:PORT of the REST API and the web pages of the job manager that leads, as --flink-master takes it.

        Raises:
          FlinkClusterError: while no job manager runs.
        """
        if not self._job_managers:
            raise FlinkClusterError("The local Flink cluster has no job manager now: start one.")
        return f"{HOST}:{self._rest_ports[next(iter(self._job_managers))]}"

    @property
    def worker_pool_address(self) -> str:
        """HOST:PORT where task managers get Python workers: Beam's --environment_config for EXTERNAL."""
        return f"{HOST}:{self._worker_pool_port}"

    @property
    def log_folder(self) -> Path:
        """One .log (Java only) and one .out file for each process."""
        return self.work_folder / "logs"

    @property
    def configuration_folder(self) -> Path:
        """What the cluster takes as its conf/; Beam's --flink_conf_dir can name it."""
        return self.work_folder / "conf"

    @property
    def checkpoint_folder(self) -> Path:
        """Where jobs put their checkpoints."""
        return self.work_folder / "checkpoints"

    @property
    def savepoint_folder(self) -> Path:
        """Where savepoints go."""
        return self.work_folder / "savepoints"

    @property
    def task_managers(self) -> tuple[int, ...]:
        """The numbers of the task managers that were started and not killed, the oldest first."""
        return tuple(self._task_managers)

    @property
    def job_managers(self) -> tuple[int, ...]:
        """The numbers of the job managers that were started and not killed; the first one leads."""
        return tuple(self._job_managers)

    def start(self) -> None:
        """Starts everything and returns when all of it is registered. Does nothing when it runs.

        Raises:
          JavaToolError: when Java is missing.
          FlinkDistributionError: when Flink has to be fetched and cannot be.
          FlinkClusterError: when a port is taken, or when something ends or stays silent instead of registering.
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
                # So that it leads, and not one of the others.
                self._wait(lambda: self._registered() is not None, "the first job manager")
        self.wait_until_ready()

    def wait_until_ready(self, seconds: float | None = None) -> None:
        """Waits until the cluster has the slots of exactly the task managers that run, and all that should listen does.

        Args:
          seconds: how long; None: `start_seconds` of the settings.

        Raises:
          FlinkClusterError: when that takes longer, or when something ends by itself.
        """
        self._wait(self._is_ready, "its task managers", seconds)

    def start_job_manager(self) -> int:
        """Starts one more job manager, or another one for one that was killed, on its port; gives its number."""
        number = next(number for number in range(len(self._rest_ports) + 1) if number not in self._job_managers)
        if number == len(self._rest_ports):
            self._rest_ports.append(free_port())
        port = self._rest_ports[number]
        memory = ["-Xms128m", f"-Xmx{self.settings.job_manager_heap}m", f"-XX:MaxMetaspaceSize={METASPACE}m"]
        arguments = ["--configDir", str(self.configuration_folder), f"-Drest.port={port}", f"-Drest.bind-port={port}"]
        self._job_managers[number] = self._java(f"job-manager-{number}", JOB_MANAGER_CLASS, memory, arguments)
        return number

    def start_task_manager(self) -> int:
        """Starts one more task manager and gives its number; `wait_until_ready` waits until it is registered."""
        number = self._task_managers_ever
        self._task_managers_ever += 1
        name = f"task-manager-{number}"
        arguments = ["--configDir", str(self.configuration_folder), f"-Dtaskmanager.resource-id={name}"]
        memory = ["-Xms256m", *self.settings.task_manager_memory.java_options()]
        self._task_managers[number] = self._java(name, TASK_MANAGER_CLASS, memory, arguments)
        return number

    def start_worker_pool(self) -> None:
        """Starts the pool of Python workers, unless it runs."""
        if self._worker_pool is not None:
            return
        command = [sys.executable, "-m", "runners.worker.pool", "--port", str(self._worker_pool_port)]
        # A checkout need not be installed.
        python_path = os.pathsep.join([str(_APPLICATION), os.environ.get("PYTHONPATH", "")])
        environment = {"PYTHONPATH": python_path, **self.settings.worker_environment}
        self._worker_pool = ServerProcess(command, self.log_folder / "worker-pool.out", environment)

    def kill_job_manager(self, number: int | None = None) -> int:
        """Ends a job manager as a crash would (SIGKILL), without a number the one that leads; gives its number."""
        return _kill_one(self._job_managers, number, "job manager")

    def kill_task_manager(self, number: int | None = None) -> int:
        """Ends a task manager as a crash would (SIGKILL), without a number the oldest; gives its number."""
        return _kill_one(self._task_managers, number, "task manager")

    def worker_processes(self) -> list[int]:
        """The process ids of the Python workers that run now; empty while no job does."""
        return self._worker_pool.children() if self._worker_pool is not None else []

    def kill_worker(self) -> int:
        """Ends a Python worker as a crash would (SIGKILL) and gives its process id.

        Raises:
          FlinkClusterError: when none runs.
        """
        workers = self.worker_processes()
        if not workers:
            raise FlinkClusterError("The local Flink cluster runs no Python worker now: start a job first.")
        os.kill(workers[0], 9)
        return workers[0]

    def kill_worker_pool(self) -> None:
        """Ends the pool and all its workers as a crash would; `start_worker_pool` starts one on the same port."""
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
                    f"Port {port} is taken: stop what listens there, or give another one (--rest-port, "
                    "--worker-pool-port)."
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
        """All that was started and not killed, by what it is; who depends on another comes first."""
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
        """The names of the task managers whose slots the cluster has; None while nobody answers."""
        if is_free(int(self.rest_address.rpartition(":")[2])):
            # Nothing listens for seconds: a client would only log that.
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
                        f"The {name} of the local Flink cluster ended by itself:\n{self._told_by(process)}"
                    )
            if time.monotonic() > deadline:
                last = "\n".join(self._told_by(process) for process in self._processes().values())
                raise FlinkClusterError(f"The local Flink cluster waited {limit:.0f} s for {what}:\n{last}")
            time.sleep(POLL_SECONDS)

    def _told_by(self, process: ServerProcess) -> str:
        """What a process printed and logged last, from its last error on."""
        log = process.output.with_suffix(".log")
        logged = log.read_text(errors="replace") if log.exists() else ""
        error = logged.rfind(" ERROR ")
        lines = (logged[-2000:] if error < 0 else logged[error + 1 :]).splitlines()
        # The causes are told between the stack's lines.
        said = "\n".join(line for line in lines if not line.startswith("\tat "))[:2000]
        return f"{process.log_end()}{said}\n({process.output})"


def _kill_one(processes: dict[int, ServerProcess], number: int | None, what: str) -> int:
    chosen = next(iter(processes), None) if number is None else number
    if chosen is None or chosen not in processes:
        which = "" if number is None else f" {number}"
        raise FlinkClusterError(f"The local Flink cluster runs no {what}{which} now: start one.")
    processes.pop(chosen).kill()
    return chosen


def main(arguments: list[str] | None = None) -> int:
    """Starts, stops or describes the cluster that is in the background."""
    # Imported here: that module needs this one under its own name.
    from runners.flink.background import main as run

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
