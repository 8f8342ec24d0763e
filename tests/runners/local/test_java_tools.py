from __future__ import annotations

from pathlib import Path

import pytest

from runners.local.java_tools import JavaToolError, java, pom_property, run_maven


def fake_maven(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    (folder / "mvn").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "mvn").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def ask_maven(folder: Path, seconds: float = 30.0) -> None:
    run_maven(["package", "-Dx=y"], folder, purpose="build it", needed_by="the test", seconds=seconds)


def test_maven_gets_goals_and_properties_in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_maven(tmp_path, monkeypatch, 'echo "$@" > told; pwd >> told')
    ask_maven(tmp_path)
    arguments, where = (tmp_path / "told").read_text().splitlines()
    assert arguments.endswith("package -Dx=y")
    assert Path(where).samefile(tmp_path)


def test_a_failure_reports_the_output_of_the_build_without_the_noise_of_maven(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = "\n".join(f"    at org.apache.maven.Something (Something.java:{line})" for line in range(100))
    (tmp_path / "said").write_text(f"The parts do not fit.\n{noise}\n[ERROR] \n[ERROR] To see the full stack trace\n")
    fake_maven(tmp_path, monkeypatch, "cat said >&2; exit 1")
    with pytest.raises(JavaToolError) as raised:
        ask_maven(tmp_path)
    assert str(raised.value).endswith("Its output: The parts do not fit.")
    assert str(raised.value).startswith("Maven could not build it;")


def test_maven_that_takes_too_long_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_maven(tmp_path, monkeypatch, "exec sleep 60")
    with pytest.raises(JavaToolError, match="did not build it within 1 s"):
        ask_maven(tmp_path, 1.0)


def test_a_missing_program_is_named_with_who_needs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(JavaToolError, match="`mvn` is not on PATH, and the test needs it: install"):
        ask_maven(tmp_path)
    with pytest.raises(JavaToolError, match="`java` is not on PATH, and the test needs it: install"):
        java("the test")


def test_a_property_is_read_from_the_pom(tmp_path: Path) -> None:
    pom = tmp_path / "pom.xml"
    pom.write_text("<project><properties><a.b>1.2</a.b><axb>9</axb></properties></project>")
    assert pom_property(pom, "a.b") == "1.2"
    with pytest.raises(JavaToolError, match=r"has no property c\.d: use a complete"):
        pom_property(pom, "c.d")
    with pytest.raises(JavaToolError, match=r"missing\.xml has no property"):
        pom_property(tmp_path / "missing.xml", "a.b")
