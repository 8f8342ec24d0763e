"""The project's own images, built from their Dockerfiles as they are."""

from __future__ import annotations

import time
from pathlib import Path

from flink.cluster import versions
from flink.cluster.building import base_images, container_images
from runners.local.cache_folder import announce, cache_folder, locked

ROOT = versions.FLINK_FOLDER.parent
# The name of each image, as the overlay `local` has it.
NAMES = {
    "flink": f"localhost/beam-serving-flink:{versions.PROJECT}",
    "worker": f"localhost/beam-serving-worker:{versions.PROJECT}",
}


def build_all() -> None:
    """Builds the images of the current sources; unchanged steps are taken from the cache.

    Raises:
      ClusterError: an image cannot be built.
    """
    base_images.build_all()
    with locked(cache_folder("kubernetes", "images.lock"), "building images"):
        for image, name in NAMES.items():
            announce(f"Building the image {name} (minutes the first time)")
            began = time.monotonic()
            container_images.build(ROOT, name, dockerfile=dockerfile(image))
            announce(f"Built {name} in {time.monotonic() - began:.0f} s: {container_images.size(name) / 1e6:.0f} MB")


def build_missing() -> None:
    """Builds the images if one of them is not in the cache; images of earlier sources are kept."""
    if set(NAMES.values()) - container_images.names().keys():
        build_all()


def dockerfile(image: str) -> Path:
    """The Dockerfile of an image, by its short name."""
    return versions.FLINK_FOLDER / "images" / image / "Dockerfile"
