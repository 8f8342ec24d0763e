"""Registers a folder in MLflow and points an alias to it: `python examples/frameworks/register.py FOLDER NAME ALIAS`.

The variable MLFLOW_TRACKING_URI names the server.
"""

from __future__ import annotations

import sys

import mlflow


def main() -> None:
    """Uploads the folder as the artifact of a run, registers it, and moves the alias."""
    folder, name, alias = sys.argv[1:]
    client = mlflow.MlflowClient()
    with mlflow.start_run() as run:
        mlflow.log_artifacts(folder, "model")
    try:
        client.create_registered_model(name)
    except mlflow.MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    version = client.create_model_version(name, f"{run.info.artifact_uri}/model", run.info.run_id)
    client.set_registered_model_alias(name, alias, version.version)
    print(f"{name}: {alias} is version {version.version}")


if __name__ == "__main__":
    main()
