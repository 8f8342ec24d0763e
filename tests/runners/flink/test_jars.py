"""The job server's jar. Building it takes half a minute, so all tests share the one in the cache."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from runners.flink import jars as flink_jars
from runners.flink.jars import SOURCES, JobServerUnavailableError, cached_jar, has_beam_fixes, job_server_jar
from runners.local.java_tools import JavaToolError, run_maven

CHANGED = "org/apache/beam/runners/core/SideInputHandler.class"
RESIDUALS = (
    "org/apache/beam/runners/fnexecution/control/BundleCheckpointHandlers$StateAndTimerBundleCheckpointHandler.class"
)
RUNNER_OF_BUNDLES = (
    "org/apache/beam/runners/flink/translation/wrappers/streaming/"
    "ExecutableStageDoFnOperator$SdkHarnessDoFnRunner.class"
)
OURS = "serving/flink/SideInputStateCoder.class"
BEAMS_CODER = b"org/apache/beam/sdk/coders/IterableCoder"
OUR_CODER = b"serving/flink/SideInputStateCoder"


@pytest.fixture(scope="module")
def jar() -> Path:
    return Path(job_server_jar())


@pytest.fixture
def copied_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copy = tmp_path / "job-server"
    copy.mkdir()
    shutil.copy(SOURCES / "pom.xml", copy)
    shutil.copytree(SOURCES / "src", copy / "src")
    monkeypatch.setattr(flink_jars, "SOURCES", copy)
    return copy


def read(jar: Path, name: str) -> bytes:
    with zipfile.ZipFile(jar) as opened:
        return opened.read(name)


def forbid_maven(monkeypatch: pytest.MonkeyPatch) -> None:
    def called(*arguments: object, **options: object) -> None:
        raise AssertionError("Maven was called")

    monkeypatch.setattr(flink_jars, "run_maven", called)


def test_the_jar_is_a_job_server(jar: Path) -> None:
    manifest = read(jar, "META-INF/MANIFEST.MF").decode()
    assert "Main-Class: org.apache.beam.runners.flink.FlinkJobServerDriver" in manifest
    with zipfile.ZipFile(jar) as opened:
        names = opened.namelist()
    assert "org/apache/beam/runners/flink/FlinkPipelineRunner.class" in names
    # Only the build needs these.
    assert not [name for name in names if name.startswith("org/objectweb/asm/") or "BeamFixes" in name]


def test_the_class_that_two_parts_of_beam_carry_is_there_once_and_changed(jar: Path) -> None:
    with zipfile.ZipFile(jar) as opened:
        assert opened.namelist().count(CHANGED) == 1
        assert opened.namelist().count(OURS) == 1
    assert OUR_CODER in read(jar, CHANGED)
    assert BEAMS_CODER not in read(jar, CHANGED)


def test_our_jar_is_told_from_one_without_our_fixes(jar: Path, tmp_path: Path) -> None:
    (tmp_path / "no.jar").write_bytes(b"not a jar")
    assert has_beam_fixes(str(jar))
    for other in (job_server_jar(beam_fixes=False), str(tmp_path / "no.jar"), "https://example.org/job-server.jar"):
        assert not has_beam_fixes(other)


def test_without_the_fix_the_class_is_beams_own() -> None:
    original = read(Path(job_server_jar(beam_fixes=False)), CHANGED)
    assert BEAMS_CODER in original
    assert OUR_CODER not in original


def test_what_is_built_is_not_built_again(jar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forbid_maven(monkeypatch)
    assert job_server_jar() == str(jar) == str(cached_jar())


def test_other_sources_give_another_jar(jar: Path, copied_sources: Path) -> None:
    assert cached_jar() == jar
    (copied_sources / "target").mkdir()
    (copied_sources / "target" / "left-over.class").touch()
    assert cached_jar() == jar
    with (copied_sources / "pom.xml").open("a") as pom:
        pom.write("<!-- changed -->")
    changed = cached_jar()
    assert changed != jar
    (copied_sources / "src" / "more.txt").write_text("more")
    assert cached_jar() not in (jar, changed)
    assert cached_jar(beam_fixes=False) != cached_jar()


def test_a_jar_that_is_given_is_taken_and_nothing_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    forbid_maven(monkeypatch)
    (tmp_path / "official.jar").touch()
    monkeypatch.chdir(tmp_path)
    assert job_server_jar("official.jar") == str(tmp_path / "official.jar")
    assert job_server_jar("https://example.org/official.jar") == "https://example.org/official.jar"
    with pytest.raises(JobServerUnavailableError, match=r"another\.jar does not exist.*omit the option"):
        job_server_jar("another.jar")


def test_without_a_checkout_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flink_jars, "SOURCES", tmp_path / "nowhere")
    with pytest.raises(JobServerUnavailableError, match=r"checkout of beam-serving, or pass .* --flink_job_server_jar"):
        job_server_jar()


def test_without_maven_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(JavaToolError, match="`mvn` is not on PATH, and Flink's job server needs it: install Maven"):
        job_server_jar()
    assert not cached_jar().exists()


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ("changed", f"{CHANGED[:-6]} calls IterableCoder.of 0 times, not once"),
        ("nothing", f"it has no class {CHANGED[:-6]}"),
    ],
)
def test_a_beam_that_the_fix_does_not_fit_fails_the_build(
    found: str, reason: str, jar: Path, copied_sources: Path
) -> None:
    small = copied_sources / "small.jar"
    with zipfile.ZipFile(small, "w") as written:
        if found == "changed":
            written.writestr(CHANGED, read(jar, CHANGED))
    before = small.read_bytes()
    # The build's own step, on another jar.
    step = ["exec:exec@beam-fixes", f"-Djob.server.jar={small}"]
    with pytest.raises(JavaToolError) as raised:
        run_maven(step, copied_sources, purpose="fix it", needed_by="the test", seconds=120)
    assert f"The fixes of Beam do not fit small.jar: {reason}." in str(raised.value)
    assert "build with -Dbeam.fixes=false" in str(raised.value)
    assert small.read_bytes() == before


def test_as_a_program_it_prints_the_path(jar: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert flink_jars.main() == 0
    assert capsys.readouterr().out == f"{jar}\n"


def run_java(jar: Path, folder: Path, program: str, *arguments: str) -> str:
    """The output of a program that needs the jar's classes."""
    source = folder / "Program.java"
    source.write_text(
        f"public class Program {{ public static void main(String[] arguments) throws Exception {{ {program} }} }}"
    )
    command = ["java", "-cp", str(jar), str(source), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def test_the_java_machine_accepts_the_changed_classes(jar: Path, tmp_path: Path) -> None:
    # Loaded and initialised, which verifies them.
    names = [name[:-6].replace("/", ".") for name in (CHANGED, RESIDUALS, RUNNER_OF_BUNDLES)]
    assert run_java(jar, tmp_path, "for (String name : arguments) Class.forName(name);", *names) == ""


@pytest.mark.parametrize(("delay", "milliseconds"), [("setNanos(30_000_000)", 30), ("setSeconds(2)", 2000)])
def test_pauses_of_less_than_a_second_are_pauses(jar: Path, tmp_path: Path, delay: str, milliseconds: int) -> None:
    message = "org.apache.beam.vendor.grpc.v1p69p0.com.google.protobuf.Duration"
    call = f"serving.flink.ResidualDelay.milliseconds({message}.newBuilder().{delay}.build())"
    assert run_java(jar, tmp_path, f"System.out.println({call});") == str(milliseconds)
    assert b"serving/flink/ResidualDelay" in read(jar, RESIDUALS)


def test_residuals_wait_in_a_state_of_ours_where_they_are_written_and_where_they_are_read(jar: Path) -> None:
    assert b"serving/flink/ResidualState" in read(jar, RESIDUALS)
    assert b"serving/flink/ResidualState" in read(jar, RUNNER_OF_BUNDLES)
