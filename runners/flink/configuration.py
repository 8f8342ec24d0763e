"""The configuration of a local Flink cluster's processes: settings, Java options and logging."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runners.local.free_ports import HOST

# The packages that Flink accesses by reflection on Java 17; its own scripts open the same ones.
_OPENED = (
    "java.io java.lang java.lang.invoke java.lang.reflect java.net java.nio java.text java.time java.util "
    "java.util.concurrent java.util.concurrent.atomic java.util.concurrent.locks sun.nio.ch"
)
JAVA_OPTIONS = (
    "--add-exports=java.base/sun.net.util=ALL-UNNAMED",
    "--add-exports=java.security.jgss/sun.security.krb5=ALL-UNNAMED",
    *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENED.split()),
    # The cluster is short-lived and shares the machine: the optimising compiler would use half a core for minutes.
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
)

# Flink's own settings of a job. By default, each exchange between tasks waits up to 100 ms for a buffer to fill, which
# adds to the latency of every record. Our elements are lists of records, so each may well have a buffer of its own.
JOB_CONFIGURATION: Mapping[str, str] = {"execution.buffer-timeout.interval": "0 ms"}

# In megabytes. Each job loads its many classes again, and a job manager or task manager outlives many jobs.
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
      heap: the heap of the tasks, without Flink's own part.
      direct: direct memory, used by the streams to and from the Python workers.
      network: the buffers for exchanges between tasks.
      managed: memory for batch jobs and RocksDB.
    """

    heap: int = 640
    direct: int = 192
    network: int = 96
    managed: int = 128

    # Flink's own parts.
    _FRAMEWORK_HEAP = 128
    _FRAMEWORK_DIRECT = 64
    _OVERHEAD = 128

    @property
    def total(self) -> int:
        """The memory of the whole process, without the metaspace."""
        framework = self._FRAMEWORK_HEAP + self._FRAMEWORK_DIRECT + self._OVERHEAD
        return self.heap + self.direct + self.network + self.managed + framework

    def settings(self) -> dict[str, str]:
        """The settings of Flink for every part; Flink's scripts, which would compute them, are not used here."""
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
        """The same limits as options of the Java virtual machine."""
        heap = self.heap + self._FRAMEWORK_HEAP
        direct = self.direct + self.network + self._FRAMEWORK_DIRECT
        return [f"-Xmx{heap}m", f"-XX:MaxDirectMemorySize={direct}m", f"-XX:MaxMetaspaceSize={METASPACE}m"]


def cluster_settings(work_folder: Path, rpc_port: int, slots: int, memory: TaskManagerMemory) -> dict[str, str]:
    """The settings that all processes of a cluster share, without those for high availability."""
    return {
        # A numeric address, because localhost resolves to two addresses on many machines.
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
        # The default is below /opt/flink, where a job may pick up a jar of the same name from another cluster.
        "user.artifacts.base-dir": str(work_folder / "artifacts"),
        "state.backend.type": "hashmap",
        "state.checkpoints.dir": (work_folder / "checkpoints").as_uri(),
        "state.savepoints.dir": (work_folder / "savepoints").as_uri(),
        # Restarts without limit, one second apart: a job comes back however often a process is killed.
        "restart-strategy.type": "fixed-delay",
        "restart-strategy.fixed-delay.attempts": "2147483647",
        "restart-strategy.fixed-delay.delay": "1 s",
        # A killed process is detected after two heartbeats that cannot be delivered; a slow one has ten seconds.
        "heartbeat.interval": "1000",
        "heartbeat.timeout": "10000",
        "heartbeat.rpc-failure-threshold": "2",
        # By default, a process that has lost the job manager tries again only every ten seconds, and ever less often.
        "cluster.registration.error-delay": "1000",
        "cluster.registration.max-timeout": "2000",
        **JOB_CONFIGURATION,
        # Child-first loading is unnecessary: only the job's jar has Beam's classes, and both have the same of Flink.
        "classloader.resolve-order": "parent-first",
        # Some threads of Beam end a moment after their job. With the check, they would fail on the closed class loader
        # and take the task manager down.
        "classloader.check-leaked-classloader": "false",
    }


def high_availability_settings(work_folder: Path, zookeeper_port: int) -> dict[str, str]:
    """The settings that let another job manager take over the jobs of one that has failed."""
    return {
        "high-availability.type": "zookeeper",
        "high-availability.zookeeper.quorum": f"{HOST}:{zookeeper_port}",
        "high-availability.storageDir": (work_folder / "high-availability").as_uri(),
        # How long, in milliseconds, a job manager that has failed stays the leader.
        "high-availability.zookeeper.client.session-timeout": "5000",
        "high-availability.zookeeper.client.connection-timeout": "3000",
        "high-availability.zookeeper.client.retry-wait": "500",
    }


def zookeeper_settings(data: Path, port: int) -> dict[str, str]:
    """The settings of a single ZooKeeper server."""
    return {
        "dataDir": str(data),
        "clientPort": str(port),
        "clientPortAddress": HOST,
        # Limits sessions to between two and twenty ticks, that is 1 to 10 s.
        "tickTime": "500",
        "admin.enableServer": "false",
    }


def write_configuration(folder: Path, settings: Mapping[str, str]) -> None:
    """Writes Flink's configuration folder (its conf/), creating it if necessary."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{key}: {value}\n" for key, value in settings.items()]
    (folder / "flink-conf.yaml").write_text("".join(lines), encoding="utf-8")
    (folder / "log4j.properties").write_text(LOG4J.lstrip(), encoding="utf-8")
