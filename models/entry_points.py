"""What other packages add by entry points: it is found by its name, and its absence or defect is named."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from models.errors import EntryPointError


@cache
def installed(group: str) -> Mapping[str, tuple[EntryPoint, ...]]:
    """The entry points of a group by name; what is installed does not change while a process runs."""
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for one in entry_points(group=group):
        found[one.name] = (*found.get(one.name, ()), one)
    return found


def load_entry_point(group: str, name: str, what: str) -> Any:
    """What the only entry point of that name refers to.

    Args:
      group: of the entry points.
      name: of the entry point.
      what: what it is, for errors, as in "function".

    Raises:
      EntryPointError: when no package or several packages have it, or it cannot be imported.
    """
    claims = installed(group).get(name, ())
    if not claims:
        known = ", ".join(sorted(installed(group))) or "none"
        raise EntryPointError(
            f"{what} {name!r} is not installed; installed: {known}. Install the package whose entry point of the group "
            f"{group} has that name, here and wherever workers run"
        )
    return load_claim(claims, f"{what} {name!r}")


def load_claim(claims: tuple[EntryPoint, ...], title: str) -> Any:
    """What the entry point refers to, if it is the only one of its name; `title` begins the text of errors.

    Raises:
      EntryPointError: when there are several, or it cannot be imported.
    """
    text = " and ".join(map(described, claims))
    if len(claims) > 1:
        raise EntryPointError(f"{title} is claimed by {text}; uninstall all but one")
    try:
        return claims[0].load()
    except Exception as error:  # the import runs code of another package
        raise EntryPointError(
            f"{title}: {text} cannot be imported: {type(error).__name__}: {error}; repair the package here and "
            "wherever workers run"
        ) from error


def described(claim: EntryPoint) -> str:
    """An entry point and its package, for errors."""
    package = "an unknown package" if claim.dist is None else f"package {claim.dist.name} {claim.dist.version}"
    return f"the entry point {claim.name} = {claim.value} of {package}"
