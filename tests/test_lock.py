"""The lock file: complete, consistent with setup.py on every Python, and without the address of a registry."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from tests.setup_requirements import HEAVY_EXTRAS, ROOT, extra, extras, plain

LOCK = ROOT / "requirements.lock.txt"
PYTHONS = ("3.10.13", "3.11.13", "3.12.11", "3.13.5")
every_python = pytest.mark.parametrize("python", PYTHONS)
Pins = dict[NormalizedName, str]


def holds(marker: Marker | None, python: str, extra: str = "") -> bool:
    """Whether a marker holds on Linux with that Python."""
    linux = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": "x86_64"}
    short = ".".join(python.split(".")[:2])
    versions = {"python_version": short, "python_full_version": python, "implementation_name": "cpython"}
    return marker is None or marker.evaluate({**linux, **versions, "extra": extra})


def pins(python: str) -> Pins:
    """The versions that the lock file pins for that Python; fails when it pins a package twice."""
    found: dict[NormalizedName, list[str]] = defaultdict(list)
    for line in LOCK.read_text().splitlines():
        text = line.partition("#")[0].strip()
        if text and holds((pinned := Requirement(text)).marker, python):
            (exact,) = pinned.specifier
            assert exact.operator == "==", text
            found[canonicalize_name(pinned.name)].append(exact.version)
    assert {name: versions for name, versions in found.items() if len(versions) > 1} == {}
    return {name: versions[0] for name, versions in found.items()}


def lockable() -> list[str]:
    """The extras that the lock file covers."""
    return [name for name in extras() if name not in HEAVY_EXTRAS]


def wanted(python: str) -> list[Requirement]:
    """The requirements in setup.py for that Python, with all extras except the heavy ones."""
    declared = [*plain(), *(requirement for name in lockable() for requirement in extra(name))]
    return [requirement for requirement in declared if holds(requirement.marker, python)]


def unsatisfied(requirements: Iterable[Requirement], pinned: Pins) -> list[str]:
    return [
        f"{requirement} (pinned: {pinned.get(canonicalize_name(requirement.name), 'nothing')})"
        for requirement in requirements
        if not requirement.specifier.contains(pinned.get(canonicalize_name(requirement.name), "0"), prereleases=True)
        or canonicalize_name(requirement.name) not in pinned
    ]


@every_python
def test_it_satisfies_setup(python: str) -> None:
    requirements = wanted(python)
    assert len(requirements) > 15
    assert unsatisfied(requirements, pins(python)) == [], "run `make lock`"


def test_it_pins_what_the_installed_packages_require_in_turn() -> None:
    python = "3.11.13"
    pinned = pins(python)
    assert unsatisfied(required_in_turn(wanted(python), python), pinned) == [], "run `make lock UPGRADE=1`"


def required_in_turn(first: Iterable[Requirement], python: str) -> list[Requirement]:
    """All packages that these requirements need, directly or indirectly, according to the packages installed here."""
    reached: dict[str, Requirement] = {}
    waiting = list(first)
    while waiting:
        requirement = waiting.pop()
        if str(requirement) not in reached:
            reached[str(requirement)] = requirement
            waiting.extend(_next(requirement, python))
    return list(reached.values())


def _next(requirement: Requirement, python: str) -> list[Requirement]:
    try:
        declared = [Requirement(text) for text in requires(requirement.name) or ()]
    except PackageNotFoundError:  # of an extra that is not installed here
        return []
    wanted_extras = ("", *requirement.extras)
    return [one for one in declared if any(holds(one.marker, python, extra) for extra in wanted_extras)]


def test_a_requirement_that_it_does_not_satisfy_is_found() -> None:
    pinned = pins("3.11.13")
    damaged = [Requirement("numpy>=99"), Requirement("no-such-package"), Requirement("numpy>=1")]
    assert [text.split(" ")[0] for text in unsatisfied(damaged, pinned)] == ["numpy>=99", "no-such-package"]


def test_it_names_no_registry_and_takes_no_option() -> None:
    text = LOCK.read_text()
    assert not re.search(r"://|^\s*-|@", text, re.MULTILINE)
