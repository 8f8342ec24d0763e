"""The images of the Dockerfiles: as small as they should be, and with what the manifests start."""

from __future__ import annotations

import pytest

from flink.cluster import container_images
from flink.cluster.project_images import NAMES

LIMITS = {"flink": 1_000_000_000, "worker": 2_000_000_000}


@pytest.mark.parametrize("image", NAMES)
def test_its_size(image: str) -> None:
    size = container_images.size(NAMES[image])
    print(f"\n{image}: {size / 1e6:.0f} MB")
    assert 100_000_000 < size < LIMITS[image]


def test_what_they_start() -> None:
    flink, worker = (container_images.configuration(NAMES[image]) for image in ("flink", "worker"))
    assert flink["User"] == "9999:9999"
    assert worker["User"] == "10001:10001"
    assert worker["Entrypoint"] == ["python", "-m", "runners.worker.pool"]
