"""What loading a model takes by itself: the loader of the workers, with nothing beside it."""

from __future__ import annotations

from pathlib import Path

from benchmarks.recommender import INPUTS
from models.catalog import PublishedVersion
from models.descriptor import ModelDescriptor
from models.digest import digest_of_path
from models.loading import ModelLoader
from models.record_schema import RecordSchema
from transforms.file_systems import BeamOpener


def load_once(folder: str) -> None:
    """Loads the recommender from its folder, warms it up, and releases it."""
    descriptor = ModelDescriptor(
        "recommender",
        "tensorflow-saved-model",
        1,
        model_source_location=folder,
        inputs=INPUTS,
        digest=digest_of_path(Path(folder)),
    )
    loader = ModelLoader(BeamOpener(), lambda _: b"", RecordSchema.named("recommender"))
    loader.load(PublishedVersion(descriptor, 0, False)).close()
