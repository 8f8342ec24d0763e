"""The application on top: options, the graph on one page, the command line, the demo."""

from importlib.util import find_spec
from pathlib import Path

_SIBLINGS = ("models", "runners", "transforms")


def _require_siblings() -> None:
    """Checks that Python imports our sibling packages, whose names are common, from the folder beside this one.

    Raises:
      ImportError: a package of the same name shadows a sibling, or a sibling is missing; the message names it.
    """
    home = Path(__file__).resolve().parent.parent
    for name in _SIBLINGS:
        spec = find_spec(name)
        found = [Path(place).resolve() for place in (spec.submodule_search_locations or ())] if spec else []
        if found != [home / name]:
            intruder = ", ".join(map(str, found)) or (spec.origin if spec else None)
            raise ImportError(
                f"beam_pipeline needs the package {name!r} next to it in {home}, but Python finds "
                + (
                    f"{intruder}: remove that from sys.path (PYTHONPATH, or the distribution that installed it)."
                    if intruder
                    else "none: reinstall beam-serving."
                ),
                name=name,
                path=intruder,
            )


_require_siblings()
