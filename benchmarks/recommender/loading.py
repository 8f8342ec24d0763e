"""Loads the recommender with the loader of the workers."""

from __future__ import annotations

from pathlib import Path

from benchmarks.recommender.model import INPUTS
from models.artifacts.digest import digest_of_path
from models.loading.loader import LoadedModel, ModelLoader
from models.model_topic.descriptor import ModelDescriptor
from models.model_topic.published import PublishedVersion
from models.records.record_type import RecordType
from transforms.file_systems import BeamOpener


def load_once(folder: str) -> None:
    """Loads the recommender from its folder, warms it up and closes it."""
    load_model(folder).close()


def load_model(folder: str) -> LoadedModel:
    """Loads the recommender from its folder and warms it up."""
    descriptor = ModelDescriptor(
        "recommender",
        "tensorflow-saved-model",
        1,
        model_source_location=folder,
        inputs=INPUTS,
        digest=digest_of_path(Path(folder)),
    )
    loader = ModelLoader(BeamOpener(), lambda _: b"", [RecordType.named("recommender").codec])
    return loader.load(PublishedVersion(descriptor, 0, False))
