"""What a job of a template is started with, and what it then does, whatever runs it."""

from __future__ import annotations

from pathlib import Path

from tests.end_to_end.deployment import Deployment
from tests.saved_models import save_version_model


def parameters_of(deployment: Deployment) -> dict[str, str]:
    """The parameters of a job that serves a deployment from the beginning of its topics."""
    return {
        "kafka_bootstrap_servers": deployment.kafka.bootstrap_servers,
        "records_topic": deployment.topic("records"),
        "models_topic": deployment.topic("models"),
        "results_topic": deployment.topic("results"),
        "dead_letter_topic": deployment.topic("dead-letters"),
        "status_topic": deployment.topic("status"),
        "group": deployment.group,
        "start": "earliest",
    }


def score_update_and_commit(deployment: Deployment, folder: Path) -> None:
    """Scores records of the recommender with a model and its update, and waits for the commit of all of them."""
    record = {"user": 1, "products": [1], "dataType": "recommender"}
    for version, records in ((1, [record, record]), (2, [record])):
        path = save_version_model(folder / str(version), version)
        deployment.publish("recommender", path, {"x": ("user",)})
        deployment.status("serving", "recommender", version)
        answered = [one.values("version") for one in deployment.score(*records)]
        assert answered == [[version]] * len(records), answered
    deployment.eventually(lambda: deployment.committed() == 3, "all three records are committed")
