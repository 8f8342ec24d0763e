"""Import cycles, read from the sources: there are none between modules, nor between the parts of a folder.

Imports within functions and imports for types only count as well. Modules that a table names (a codec, a command) do
not count, and neither do the parent packages that Python imports before a module.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("beam_pipeline", "models", "runners", "transforms")

# Who may import what, although it closes a circle between the parts of a folder, and why. None is one between modules.
ALLOWED = {
    # The parameters of a template are the options of the command line, of which every command has some; and the
    # launcher's program hands the parameters to the command line.
    ("beam_pipeline.cli.commands.template", "beam_pipeline.template"),
    # A record type makes its codec, by the table of codecs, and codecs are made from a record type.
    ("models.records.record_type", "models.records.codecs"),
    # The interface of codecs is beside them, for authors of codecs; it imports none of them.
    ("models.records.registry_frames", "models.records.codecs.base"),
}

# By the name of each module, the names of those that it imports.
Graph = dict[str, set[str]]


def module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(source: str, known: Collection[str]) -> set[str]:
    """The known modules that the source imports, at any depth."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in known else node.module for name in names}
    return found.intersection(known)


def graph_of(root: Path, *packages: str) -> Graph:
    paths = {module_name(path, root): path for package in packages for path in sorted((root / package).rglob("*.py"))}
    return {name: imported(path.read_text(encoding="utf-8"), paths.keys()) for name, path in paths.items()}


def circle(graph: Graph) -> list[str]:
    """One cycle, with the same first and last name: each imports the next; empty if there is none."""
    try:
        TopologicalSorter({name: sorted(graph[name]) for name in sorted(graph)}).prepare()
    except CycleError as error:
        found: list[str] = error.args[1][::-1]
        return found
    return []


def module_circle(graph: Graph) -> str:
    return " imports ".join(circle(graph))


def is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def part_of(name: str, package: str) -> str:
    """The module or folder directly in the package that contains the module; the package itself for its `__init__`."""
    return ".".join(name.split(".")[: package.count(".") + 2])


def folder_circles(graph: Graph) -> list[str]:
    """One cycle between the parts of each package that has any, as the imports that close it."""
    packages = {name[:place] for name in graph for place, letter in enumerate(name) if letter == "."}
    return [found for package in sorted(packages) if (found := _within(graph, package))]


def _within(graph: Graph, package: str) -> str:
    causes: dict[tuple[str, str], str] = {}
    for importer in sorted(graph):
        for name in sorted(graph[importer]):
            if is_within(importer, package) and is_within(name, package):
                step = part_of(importer, package), part_of(name, package)
                causes.setdefault(step, f"{importer} imports {name}")
    parts: Graph = {}
    for importer, name in causes:
        if importer != name:
            parts.setdefault(importer, set()).add(name)
    return "; ".join(causes[step] for step in pairwise(circle(parts)))


def without(graph: Graph, allowed: Collection[tuple[str, str]]) -> Graph:
    return {
        importer: {name for name in names if not any(importer == by and is_within(name, what) for by, what in allowed)}
        for importer, names in graph.items()
    }


@pytest.fixture(scope="module")
def ours() -> Graph:
    return graph_of(ROOT, *PACKAGES)


def test_no_module_imports_itself_by_way_of_others(ours: Graph) -> None:
    assert {name.split(".")[0] for name in ours} == set(PACKAGES)
    assert module_circle(ours) == "", "move what both need to a module below them"


def test_no_parts_of_a_folder_import_each_other(ours: Graph) -> None:
    assert folder_circles(without(ours, ALLOWED)) == [], "move what both need to a folder below them"


@pytest.mark.parametrize("one", sorted(ALLOWED), ids=lambda one: one[0])
def test_each_allowed_circle_is_still_there(ours: Graph, one: tuple[str, str]) -> None:
    assert folder_circles(without(ours, ALLOWED - {one})) != [], "take it out of ALLOWED"


def written(root: Path, sources: Mapping[str, str]) -> Graph:
    """The import graph of a package `p` with these modules."""
    for name, source in sources.items():
        path = root / "p" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    return graph_of(root, "p")


@pytest.mark.parametrize(
    "back",
    [
        "import p.a",
        "from p import a",
        "from p.a import x",
        "def f():\n    from p.a import x",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p.a import x",
    ],
)
def test_a_circle_of_modules_is_named(tmp_path: Path, back: str) -> None:
    graph = written(
        tmp_path, {"__init__": "", "a": "from p.b import y\nimport os", "b": "from p.c import z", "c": back}
    )
    names = module_circle(graph).split(" imports ")
    assert names[0] == names[-1]
    steps = set(pairwise(names))
    assert steps == {("p.a", "p.b"), ("p.b", "p.c"), ("p.c", "p.a")}


def test_modules_that_share_one_below_them_are_no_circle(tmp_path: Path) -> None:
    graph = written(tmp_path, {"a": "import p.b, p.c", "b": "from p.c import z", "c": "from os import path"})
    assert graph == {"p.a": {"p.b", "p.c"}, "p.b": {"p.c"}, "p.c": set()}
    assert module_circle(graph) == ""
    assert folder_circles(graph) == []


def test_a_circle_of_folders_is_named_by_its_imports(tmp_path: Path) -> None:
    graph = written(tmp_path, {"left/a": "import p.right.b", "left/c": "", "right/b": "", "right/d": "import p.left.c"})
    assert module_circle(graph) == ""
    (found,) = folder_circles(graph)
    assert set(found.split("; ")) == {"p.left.a imports p.right.b", "p.right.d imports p.left.c"}
    assert folder_circles(without(graph, {("p.right.d", "p.left")})) == []


def test_a_folder_may_import_what_lies_beside_it_and_be_imported_by_another(tmp_path: Path) -> None:
    graph = written(tmp_path, {"top": "import p.inner.a", "inner/a": "import p.base", "base": ""})
    assert folder_circles(graph) == []
