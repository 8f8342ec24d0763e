"""Submits a pipeline to a Flink cluster as a jar, with settings of Flink for which Beam has no option.

Beam's Python SDK builds the jar (the job server's classes, the pipeline and its options) and starts it over REST, but
only passes the entry class. Kubernetes runs the same jar in application mode.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from apache_beam.options.pipeline_options import FlinkRunnerOptions, PipelineOptions, PortableOptions
from apache_beam.portability.api import beam_job_api_pb2
from apache_beam.runners.portability.flink_runner import FlinkRunner
from apache_beam.runners.portability.flink_uber_jar_job_server import FlinkBeamJob, FlinkUberJarJobServer

from runners.flink.configuration import JOB_CONFIGURATION
from runners.flink.options import FlinkServingOptions

ENTRY_CLASS = "org.apache.beam.runners.flink.FlinkPipelineRunner"


class ClusterRunner(FlinkRunner):
    """Runs a pipeline on a cluster or writes its jar (`--runner=runners.flink.submission.ClusterRunner`)."""

    def default_job_server(self, options: PipelineOptions) -> FlinkUberJarJobServer:
        """Called by Beam when the pipeline runs."""
        flink = options.view_as(FlinkRunnerOptions)
        address = self.add_http_scheme(flink.flink_master)
        flink.flink_master = "[auto]"  # from inside the cluster, where the jar's entry class reads this option
        return _JarServer(address, options)


class _JarServer(FlinkUberJarJobServer):
    def __init__(self, address: str, options: PipelineOptions) -> None:
        super().__init__(address, options)
        self._serving_options = options.view_as(FlinkServingOptions)
        self._path = options.view_as(PortableOptions).output_executable_path
        # Beam creates this folder for a jar that it downloads and never removes it. Our jar is in a cache instead.
        shutil.rmtree(self._temp_dir, ignore_errors=True)

    def create_beam_job(self, job_id: str, job_name: str, pipeline: Any, options: Any) -> FlinkBeamJob:
        """Creates the job that writes or submits the jar; Beam calls this with the pipeline."""
        given = (self._master_url, self.executable_jar(), job_id, job_name, pipeline, options)
        if self._path:
            return _WrittenJar(Path(self._path), *given)
        return _SubmittedJar(self._serving_options, *given)


class _SubmittedJar(FlinkBeamJob):
    """Like Beam's job, but with Flink's settings and the savepoint in the request that starts it."""

    def __init__(self, options: FlinkServingOptions, *given: Any) -> None:
        super().__init__(*given)
        self._serving_options = options

    def run(self) -> None:
        """Completes the jar, uploads it and starts the job."""
        self._stop_artifact_service()  # this also completes the jar
        path = Path(self._jar)
        with path.open("rb") as jar:
            uploaded = self.post("v1/jars/upload", files={"jarfile": ("beam-serving.jar", jar)})
        path.unlink()
        self._flink_jar_id = uploaded["filename"].split("/")[-1]
        self._jar_uploaded = True
        started = self.post(f"v1/jars/{self._flink_jar_id}/run", json=self._request())
        self._flink_job_id = started["jobid"]

    def _request(self) -> dict[str, Any]:
        request: dict[str, Any] = {"entryClass": ENTRY_CLASS, "flinkConfiguration": dict(JOB_CONFIGURATION)}
        if self._serving_options.savepoint_path:
            request["savepointPath"] = self._serving_options.savepoint_path
            request["allowNonRestoredState"] = bool(self._serving_options.allow_non_restored_state)
        return request


class _WrittenJar(FlinkBeamJob):
    """Writes the jar without running it, and is done then."""

    def __init__(self, path: Path, *given: Any) -> None:
        super().__init__(*given)
        self._path = path

    def run(self) -> None:
        self._stop_artifact_service()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(self._jar, self._path)
        self.set_state(beam_job_api_pb2.JobState.DONE)

    def get_state(self) -> Any:
        return self._state_history[-1]

    def get_state_stream(self) -> Any:
        return iter(self._state_history)

    def get_message_stream(self) -> Any:
        return iter(())
