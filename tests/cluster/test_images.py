"""The images of the Dockerfiles: as small as they should be, and with what the manifests start."""

from __future__ import annotations

import pytest

from flink.cluster.building import container_images
from flink.cluster.building.project_images import NAMES, dockerfile
from flink.cluster.versions import base_images

# Without the last base image, because the look-alikes here are larger than the originals.
LIMITS = {"flink": 300_000_000, "worker": 1_800_000_000}


@pytest.mark.parametrize("image", NAMES)
def test_its_size(image: str) -> None:
    size = container_images.size(NAMES[image])
    base = container_images.size(f"docker.io/library/{base_images(dockerfile(image))[-1]}")
    print(f"\n{image}: {size / 1e6:.0f} MB, of which {base / 1e6:.0f} MB are the base image")
    assert 10_000_000 < size - base < LIMITS[image]


def test_what_they_start() -> None:
    flink, worker = (container_images.configuration(NAMES[image]) for image in ("flink", "worker"))
    assert flink["User"] == "9999:9999"
    assert worker["User"] == "10001:10001"
    assert worker["Entrypoint"] == ["python", "-m", "runners.worker.pool"]
