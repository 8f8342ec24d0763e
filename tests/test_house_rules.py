"""The pages for contributors and the steps of CI match the code, and no link is broken."""

from __future__ import annotations

import re
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))

# A link's target in Markdown, without its fragment.
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")
# A table of the code, and the file that has it, as CONTRIBUTING.md names them.
TABLE = re.compile(r"`([A-Z_]+)` in `(\S+?)\.py`")


def tracked(*patterns: str) -> list[Path]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    return [ROOT / name for name in names if name and (ROOT / name).exists()]


def read_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", tracked("*.md"), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = LINK.findall(page.read_text(encoding="utf-8"))
    # Pages of the reference are made when the site is built; tests/docs checks the links to them.
    targets = [target for target in links if "://" not in target and not target.startswith("reference/")]
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_architecture_names_each_folder_of_models() -> None:
    named = {
        name.split("/")[0]
        for row in re.findall(r"^\| (`.+?) \|", (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"), re.MULTILINE)
        for name in re.findall(r"`([a-z_/]+)`", row)
    }
    folders = {path.parent.name for path in (ROOT / "models").glob("*/__init__.py")}
    assert folders <= named, f"name {folders - named} in the table of ARCHITECTURE.md"


def test_every_table_that_contributors_are_sent_to_is_there() -> None:
    named = TABLE.findall(CONTRIBUTING)
    assert {table for table, _ in named} == {
        "SCORER_MODULES",
        "CODEC_MODULES",
        "LOCATION_MODULES",
        "RUNNER_MODULES",
        "COMMANDS",
        "OPTIONS",
    }
    for table, file in named:
        module = import_module(file.replace("/", ".").removesuffix(".__init__"))
        assert getattr(module, table)


def test_the_workflow_runs_what_contributors_run() -> None:
    steps = read_yaml(ROOT / ".github/workflows/ci.yml")["jobs"]["test"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == [".ci/run"]
    assert "    .ci/run\n" in CONTRIBUTING
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_hooks_run_what_make_lint_runs_from_the_environment() -> None:
    (repository,) = read_yaml(ROOT / ".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    hooks = {hook["id"]: hook for hook in repository["hooks"]}
    assert {hook["language"] for hook in hooks.values()} == {"system"}
    makefile = (ROOT / "Makefile").read_text()
    variables = dict(re.findall(r"^([A-Z]+) := (.+)$", makefile, re.MULTILINE))
    checked = variables["CHECKED"].replace("$(PACKAGES)", variables["PACKAGES"])
    assert hooks["mypy"]["entry"].split() == [".venv/bin/mypy", *checked.split()]


def test_dependabot_looks_where_something_is() -> None:
    marks = {"pip": "setup.py", "maven": "pom.xml", "docker": "Dockerfile", "github-actions": ".github/workflows"}
    updates = read_yaml(ROOT / ".github/dependabot.yml")["updates"]
    assert {update["package-ecosystem"] for update in updates} == set(marks)
    for update in updates:
        for folder in update.get("directories") or [update["directory"]]:
            assert (ROOT / folder.strip("/") / marks[update["package-ecosystem"]]).exists(), folder


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_an_issue_form_has_what_github_needs(form: Path) -> None:
    content = read_yaml(form)
    if form.name == "config.yml":
        assert content["blank_issues_enabled"] is True
        return
    assert {"name", "description", "body"} <= content.keys()
    asked = [field for field in content["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in asked}) == len(asked) > 0
    assert all(field["attributes"]["label"] for field in asked)
