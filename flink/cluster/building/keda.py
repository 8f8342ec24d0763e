"""KEDA's images, built by Go from its module under the originals' names, for machines that cannot pull those."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

from flink.cluster import versions
from flink.cluster.building import binaries, container_images
from runners.local.cache_folder import announce, cache_folder, locked

MODULE = "github.com/kedacore/keda/v2"
_DOCKERFILE = """\
FROM scratch
COPY {program} /
USER 65532:65532
ENTRYPOINT ["/{program}"]
"""
# The name of each image, with its program and the folder of the program's source.
_PROGRAMS = {
    f"ghcr.io/kedacore/keda:{versions.KEDA}": ("keda", "cmd/operator"),
    f"ghcr.io/kedacore/keda-metrics-apiserver:{versions.KEDA}": ("keda-adapter", "cmd/adapter"),
}
IMAGES = tuple(_PROGRAMS)


def sources() -> Path:
    """The folder with KEDA's sources and manifests; raises ClusterError when Go cannot download them."""
    return binaries.module_folder(MODULE, versions.KEDA)


def build_missing() -> None:
    """Builds the images that are not in the cache; raises ClusterError when one cannot be built."""
    with locked(cache_folder("kubernetes", "keda.lock"), "building KEDA"):
        missing = set(IMAGES) - container_images.names().keys()
        if missing:
            _build(missing)


def _build(images: set[str]) -> None:
    announce(f"Building KEDA {versions.KEDA} with Go (about 10 minutes, only once)")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=cache_folder("kubernetes")) as temporary:
        source = Path(temporary, "source")
        # Go builds with the very versions that a module names only from within it, and its own copy is read-only.
        shutil.copytree(sources(), source, copy_function=shutil.copyfile)
        for name in sorted(images):
            program, folder = _PROGRAMS[name]
            context = Path(temporary, program)
            context.mkdir()
            binaries.go(
                "build", "-trimpath", "-ldflags=-s -w", "-o", str(context / program), f"./{folder}", source=source
            )
            (context / "Dockerfile").write_text(_DOCKERFILE.format(program=program), encoding="utf-8")
            container_images.build(context, name, settings=False)
    announce(f"Built KEDA in {time.monotonic() - began:.0f} s")
