"""Run events of OpenLineage about a worker process."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import version

import attr
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.generated.base import JobFacet, RunFacet
from openlineage.client.generated.job_type_job import JobTypeJobFacet
from openlineage.client.generated.processing_engine_run import ProcessingEngineRunFacet

from models.observing.lineage.job import LineageJob

NAMESPACE = "beam-serving"
"""The namespace of jobs; their name is that of the deployment."""

MODELS_FACET = "beamServing_models"
"""The name of the run facet with the versions of models."""

_PRODUCER = "urn:beam-serving"


@attr.define
class ModelInUse:
    """A version of a model that answers records.

    Attributes:
      name, version: as published.
      dataType: the data type of the records.
      arm, role: of the route; without a route, the arm is empty and the role is serve.
      share: the share of the records, 0 to 1.
    """

    name: str
    version: str
    dataType: str  # noqa: N815  # facets have camel case
    arm: str
    role: str
    share: float


@attr.define
class ModelsRunFacet(RunFacet):
    """The versions of models that a run answers with, from the event on."""

    models: list[ModelInUse]


def run_event(job: LineageJob, run_id: str, state: RunState, models: Sequence[ModelInUse], moment: float) -> RunEvent:
    """An event.

    Args:
      job: the deployment.
      run_id: the UUID of the run.
      state: what became of the run.
      models: the versions in use.
      moment: when, in seconds since 1970-01-01 UTC.
    """
    # Kafka's naming in OpenLineage: the first broker is the namespace.
    brokers = f"kafka://{job.bootstrap_servers.split(',')[0].strip()}"
    engine = ProcessingEngineRunFacet(version("apache-beam"), "Apache Beam", producer=_PRODUCER)
    kind = JobTypeJobFacet("STREAMING", "BEAM", "JOB", producer=_PRODUCER)
    run_facets: dict[str, RunFacet] = {
        "processing_engine": engine,
        MODELS_FACET: ModelsRunFacet(list(models), producer=_PRODUCER),
    }
    job_facets: dict[str, JobFacet] = {"jobType": kind}
    return RunEvent(
        eventTime=datetime.fromtimestamp(moment, timezone.utc).isoformat(timespec="milliseconds"),
        eventType=state,
        run=Run(run_id, run_facets),
        job=Job(NAMESPACE, job.deployment, job_facets),
        inputs=[InputDataset(brokers, topic) for topic in job.read],
        outputs=[OutputDataset(brokers, topic) for topic in job.written],
        producer=_PRODUCER,
    )
