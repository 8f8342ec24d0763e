"""The documentation site: it builds strictly, loads nothing from other hosts, and its reference matches the code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import fields
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from beam_pipeline.cli.arguments import OPTIONS
from beam_pipeline.cli.command_line import COMMANDS
from models.status.events import ModelStatistics, StatusEvent

ROOT = Path(__file__).resolve().parents[2]
# Resources that a page loads automatically; links that a reader may follow do not matter.
LOADED = re.compile(r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=\"?(?:https?:)?//[^\s>]*")


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """docs/generate_reference.py, loaded by its path as mkdocs does."""
    spec = spec_from_file_location("generate_reference", ROOT / "docs" / "generate_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_is_built_and_in_the_navigation(site: Path) -> None:
    built = {path.relative_to(site).with_suffix("") for path in site.rglob("*.html")} - {Path("404")}
    written = {path.relative_to(ROOT / "docs").with_suffix("") for path in (ROOT / "docs").rglob("*.md")}
    assert built >= written | {Path("reference", name) for name in ("options", "commands", "status-events", "messages")}
    linked = set(re.findall(r'href="?([^"#\s>]+)\.html', (site / "index.html").read_text()))
    assert {str(page) for page in built} <= linked


def test_it_loads_nothing_from_other_hosts(site: Path) -> None:
    for page in site.rglob("*.html"):
        assert LOADED.findall(page.read_text()) == [], page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", sheet.read_text()), sheet


def test_no_program_is_published(site: Path) -> None:
    assert not list(site.rglob("*.py"))


def test_the_options_of_the_site_are_those_of_run(reference: ModuleType) -> None:
    page = reference.options_page()
    rows = dict(re.findall(r"^\| `--([a-z-]+)` \|.*\| (.*?) \|$", page, re.MULTILINE))
    assert rows.keys() == OPTIONS.keys()
    assert rows["bootstrap-servers"] == "**required**"
    assert rows["record-format"] == "`avro`"
    assert all(option.help[1:].replace("|", "\\|") in page for option in OPTIONS.values())


def test_every_command_and_action_is_on_the_site(reference: ModuleType) -> None:
    page = reference.commands_page()
    assert re.findall(r"^## (\S+)$", page, re.MULTILINE) == list(COMMANDS)
    for command in ("models publish", "models rollback", "dead-letters replay", "generate records", "run", "status"):
        assert f"usage: beam-serving {command} " in page


@pytest.mark.parametrize("kind", [StatusEvent, ModelStatistics])
def test_every_field_of_a_status_event_is_explained(reference: ModuleType, kind: type) -> None:
    page = reference.status_page()
    explained = {
        name for row in re.findall(r"^\| (`.*?`) \|", page, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    assert {field.name for field in fields(kind)} <= explained


def test_the_messages_of_the_site_have_the_fields_of_the_schemas(reference: ModuleType) -> None:
    page = reference.results_page()
    for field in ("modelVersion", "rejectedAt", "modelSourceLocation", "inputRecord"):
        assert f"| `{field}` |" in page
