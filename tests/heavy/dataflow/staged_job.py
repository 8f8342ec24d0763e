"""Runs the graph that a launcher has staged on an embedded Flink, with workers of an external pool.

    python -m tests.heavy.dataflow.staged_job GRAPH FILES HOST:PORT

The graph is the pipeline's proto, as Dataflow gets it. Only the environment of its steps is exchanged: Dataflow starts
the image on machines, and here its worker pool at HOST:PORT runs already. The files that were staged with the graph are
in the folder FILES, from where boot gets them by way of Flink.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2 as proto
from apache_beam.portability.api import endpoints_pb2
from apache_beam.runners.portability.flink_runner import FlinkRunner

from runners.flink.plan import plan


def with_pool(graph: proto.Pipeline, files: Path, pool: str) -> proto.Pipeline:
    """The graph, whose Python steps run in the workers of a pool."""
    payload = proto.ExternalPayload(endpoint=endpoints_pb2.ApiServiceDescriptor(url=pool))
    for environment in graph.components.environments.values():
        environment.urn = common_urns.environments.EXTERNAL.urn
        environment.payload = payload.SerializeToString()
        for dependency in environment.dependencies:
            _take_from(files, dependency)
    return graph


def _take_from(files: Path, dependency: proto.ArtifactInformation) -> None:
    """Makes a dependency at a URL in Cloud Storage one of the folder's files."""
    url = proto.ArtifactUrlPayload.FromString(dependency.type_payload).url
    path = files / url.rpartition("/")[2]
    dependency.type_urn = common_urns.artifact_types.FILE.urn
    dependency.type_payload = proto.ArtifactFilePayload(
        path=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest()
    ).SerializeToString()


def main(graph: Path, files: Path, pool: str) -> None:
    """Runs the job until it ends."""
    pipeline = with_pool(proto.Pipeline.FromString(graph.read_bytes()), files, pool)
    options = PipelineOptions(list(plan(["--parallelism=1"]).arguments))
    handle = FlinkRunner().create_job_service(options)
    _, _, states = handle.submit(pipeline)
    for state in states:
        print(state, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
