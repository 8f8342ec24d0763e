"""What the processes of a local Flink cluster are told: settings, Java options, logging. Starts nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runners.local.free_ports import HOST

# What Flink reaches into on Java 17; its own scripts give the same.
_OPENED = (
    "java.io java.lang java.lang.invoke java.lang.reflect java.net java.nio java.text java.time java.util "
    "java.util.concurrent java.util.concurrent.atomic java.util.concurrent.locks sun.nio.ch"
)
JAVA_OPTIONS = (
    "--add-exports=java.base/sun.net.util=ALL-UNNAMED",
    "--add-exports=java.security.jgss/sun.security.krb5=ALL-UNNAMED",
    *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENED.split()),
    # Made for a short life beside other work: the optimising compiler would take half a core for minutes.
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
)

# Where task managers ask for Python workers, unless told otherwise.
WORKER_POOL_PORT = 50000

# Flink's own settings of a job. An exchange between tasks else waits up to 100 ms for a buffer to fill, each of them.
JOB_CONFIGURATION: Mapping[str, str] = {"execution.buffer-timeout.interval": "2 ms"}

# Each job brings its classes anew, which are many, and a job manager or task manager outlives many jobs.
METASPACE = 768

LOG4J = """
rootLogger.level = INFO
rootLogger.appenderRef.file.ref = File
appender.file.name = File
appender.file.type = FILE
appender.file.fileName = ${sys:log.file}
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d %-5p %c{1} [%t] %m%n
"""


@dataclass(frozen=True)
class TaskManagerMemory:
    """The parts of a task manager's memory, in megabytes.

    Attributes:
      heap: for the tasks; Flink's own part of the heap comes on top.
      direct: for the streams to and from the Python workers.
      network: for the exchange between tasks.
      managed: for batch jobs, and for RocksDB.
    """

    heap: int = 640
    direct: int = 192
    network: int = 96
    managed: int = 128

    # What Flink takes for itself.
    _FRAMEWORK_HEAP = 128
    _FRAMEWORK_DIRECT = 64
    _OVERHEAD = 128

    @property
    def total(self) -> int:
        """What the process may take in all, metaspace aside."""
        framework = self._FRAMEWORK_HEAP + self._FRAMEWORK_DIRECT + self._OVERHEAD
        return self.heap + self.direct + self.network + self.managed + framework

    def settings(self) -> dict[str, str]:
        """For Flink, which is told every part: its scripts, which would reckon them, are not there."""
        parts = {
            "process.size": self.total + METASPACE,
            "framework.heap.size": self._FRAMEWORK_HEAP,
            "framework.off-heap.size": self._FRAMEWORK_DIRECT,
            "task.heap.size": self.heap,
            "task.off-heap.size": self.direct,
            "network.min": self.network,
            "network.max": self.network,
            "managed.size": self.managed,
            "jvm-metaspace.size": METASPACE,
            "jvm-overhead.min": self._OVERHEAD,
            "jvm-overhead.max": self._OVERHEAD,
        }
        return {f"taskmanager.memory.{name}": f"{megabytes}m" for name, megabytes in parts.items()}

    def java_options(self) -> list[str]:
        """For the Java machine, the same limits."""
        heap = self.heap + self._FRAMEWORK_HEAP
        direct = self.direct + self.network + self._FRAMEWORK_DIRECT
        return [f"-Xmx{heap}m", f"-XX:MaxDirectMemorySize={direct}m", f"-XX:MaxMetaspaceSize={METASPACE}m"]


def cluster_settings(work_folder: Path, rpc_port: int, slots: int, memory: TaskManagerMemory) -> dict[str, str]:
    """The settings that all processes of a cluster share, high availability aside."""
    return {
        # Numbers, not localhost: that name is two addresses on many machines.
        "jobmanager.rpc.address": HOST,
        "jobmanager.rpc.port": str(rpc_port),
        "jobmanager.bind-host": HOST,
        "rest.address": HOST,
        "rest.bind-address": HOST,
        "taskmanager.host": HOST,
        "taskmanager.bind-host": HOST,
        "taskmanager.cpu.cores": str(slots),
        "taskmanager.numberOfTaskSlots": str(slots),
        **memory.settings(),
        "parallelism.default": "1",
        "web.tmpdir": str(work_folder / "web"),
        "io.tmp.dirs": str(work_folder / "temporary"),
        # Else /opt/flink, where a job's jar is taken for one of the same name that another cluster left there.
        "user.artifacts.base-dir": str(work_folder / "artifacts"),
        "state.backend.type": "hashmap",
        "state.checkpoints.dir": (work_folder / "checkpoints").as_uri(),
        "state.savepoints.dir": (work_folder / "savepoints").as_uri(),
        # For ever, one second apart: a job comes back however often something is killed.
        "restart-strategy.type": "fixed-delay",
        "restart-strategy.fixed-delay.attempts": "2147483647",
        "restart-strategy.fixed-delay.delay": "1 s",
        # A killed process is noticed by two heartbeats that nobody takes; one that only stutters has ten seconds.
        "heartbeat.interval": "1000",
        "heartbeat.timeout": "10000",
        "heartbeat.rpc-failure-threshold": "2",
        # Who lost the job manager else asks for it every ten seconds, and less and less often.
        "cluster.registration.error-delay": "1000",
        "cluster.registration.max-timeout": "2000",
        **JOB_CONFIGURATION,
        # Beam's classes are in the job's jar only, and Flink's are the same in both.
        "classloader.resolve-order": "parent-first",
        # Threads of Beam end a moment after their job, which must not take the task manager with them.
        "classloader.check-leaked-classloader": "false",
    }


def high_availability_settings(work_folder: Path, zookeeper_port: int) -> dict[str, str]:
    """What makes another job manager go on with the jobs of one that is gone."""
    return {
        "high-availability.type": "zookeeper",
        "high-availability.zookeeper.quorum": f"{HOST}:{zookeeper_port}",
        "high-availability.storageDir": (work_folder / "high-availability").as_uri(),
        # How long a job manager that is gone stays the leader.
        "high-availability.zookeeper.client.session-timeout": "5000",
        "high-availability.zookeeper.client.connection-timeout": "3000",
        "high-availability.zookeeper.client.retry-wait": "500",
    }


def zookeeper_settings(data: Path, port: int) -> dict[str, str]:
    """For a ZooKeeper that is alone."""
    return {
        "dataDir": str(data),
        "clientPort": str(port),
        "clientPortAddress": HOST,
        # Sessions last two ticks at least and twenty at most.
        "tickTime": "500",
        "admin.enableServer": "false",
    }


def write_configuration(folder: Path, settings: Mapping[str, str]) -> None:
    """Writes the folder that Flink takes as its conf/."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{key}: {value}\n" for key, value in settings.items()]
    (folder / "flink-conf.yaml").write_text("".join(lines), encoding="utf-8")
    (folder / "log4j.properties").write_text(LOG4J.lstrip(), encoding="utf-8")
