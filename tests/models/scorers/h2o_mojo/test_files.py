"""MOJO files that are cut off, damaged, hostile or of a kind that is not served; and missing Java and jars."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.artifacts.archive import EXPANSION_FLOOR
from models.artifacts.local_opener import LocalOpener
from models.errors import JarsMissingError, ModelLoadError, ScorerOptionError
from models.java_machine import java_class
from models.model_topic.descriptor import ModelDescriptor
from models.scorers import load_scorer
from models.scorers.base import ModelSource
from models.scorers.h2o_mojo.jars import FOLDER_VARIABLE, KEY_FILE, OUR_JAR, checked_jars, usable_jars
from models.tensors import TensorSpec
from tests.models.scorers.h2o_mojo.mojos import changed, constant, mojo, rows_of, with_ini
from tests.models.scorers.h2o_mojo.test_easy_predict import inline

ROOT = Path(__file__).parents[4]


def test_the_signature_is_what_the_file_says() -> None:
    signature = inline(mojo("gbm_multinomial")).signature
    assert signature.inputs["alcohol"] == TensorSpec("alcohol", np.dtype(np.float64), (None,))
    assert signature.inputs["grape"] == TensorSpec("grape", np.dtype(object), (None,))
    assert signature.inputs.keys() == rows_of(1).keys()
    assert signature.outputs["probabilities"] == TensorSpec("probabilities", np.dtype(np.float64), (None, 3))
    assert signature.outputs["prediction"].dtype == object


def test_an_empty_text_is_a_level_if_the_model_says_so() -> None:
    content = changed(mojo("gbm_regression"), {"domains/d000.txt": ("merlot\n", "\n")})
    inputs = {name: values[:1] for name, values in rows_of(1).items()}
    empty, as_level = dict(inputs), dict(inputs)
    empty["grape"] = np.array([b""], object)
    as_level["grape"] = np.array([b"merlot"], object)
    found = inline(content).score(empty).outputs["prediction"]
    assert found == inline(mojo("gbm_regression")).score(as_level).outputs["prediction"]


def test_a_wrong_value_of_the_option_is_refused() -> None:
    with pytest.raises(ScorerOptionError, match=r"unknown-levels: 'ignore' is not error or missing"):
        inline(mojo("gbm_binomial"), unknown_levels="ignore")


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "another algorithm": (lambda: mojo("pca"), r"algorithm 'pca' is not served; served are: DRF, GBM, GLM"),
    "another encoding": (lambda: mojo("gbm_one_hot"), r"categorical encoding OneHotExplicit, which is not served"),
    "an unknown algorithm": (
        lambda: with_ini(mojo("gbm_binomial"), "algo = gbm", "algo = magic"),
        r"algorithm 'magic' is not served",
    ),
    "an unknown algorithm for genmodel": (
        lambda: with_ini(mojo("gbm_binomial"), "algorithm = Gradient", "algorithm = Magic"),
        r"genmodel cannot load it: .*Magic",
    ),
    "another category": (
        lambda: with_ini(mojo("gbm_binomial"), "category = Binomial", "category = CoxPH"),
        r"category 'CoxPH' is not served",
    ),
    "an offset": (
        lambda: with_ini(mojo("gbm_regression"), "supervised = true", "supervised = true\noffset_column = ph"),
        r"offset column 'ph'",
    ),
    "no model.ini": (lambda: changed(mojo("gbm_binomial"), {"model.ini": None}), r"has no model\.ini; save the model"),
    "an empty model.ini": (lambda: _zip({"model.ini": b""}), r"lacks 'n_columns'"),
    "a model.ini of bytes": (lambda: _zip({"model.ini": bytes(range(256))}), r"lacks 'n_columns'"),
    "columns that are missing": (
        lambda: with_ini(mojo("gbm_binomial"), "n_columns = 6", "n_columns = 999999999"),
        r"lists 6 columns, but n_columns is 999999999",
    ),
    "too many features": (
        lambda: with_ini(mojo("gbm_binomial"), "n_features = 5", "n_features = 900"),
        r"more features \(900\) than columns \(6\)",
    ),
    "a number that is none": (
        lambda: with_ini(mojo("gbm_binomial"), "n_columns = 6", "n_columns = 1e9"),
        r"n_columns is '1e9', but a whole number is expected",
    ),
    "a tree that is missing": (
        lambda: changed(mojo("gbm_binomial"), {"trees/t00_003.bin": None}),
        r"lacks tree 3 of 5",
    ),
    "trees that were never there": (
        lambda: with_ini(mojo("gbm_binomial"), "n_trees = 5", "n_trees = 999999999"),
        r"lacks tree 5 of 999999999",
    ),
    "more clusters than are there": (
        lambda: with_ini(mojo("k_means"), "center_num = 4", "center_num = 2147483647"),
        r"genmodel cannot load it: java\.lang\.OutOfMemoryError",
    ),
    "a booster that is cut off": (
        lambda: _shortened(mojo("xgboost"), "boosterBytes"),
        r"genmodel cannot load it|a row of zeros cannot be scored",
    ),
    "levels that are missing": (
        lambda: changed(mojo("gbm_binomial"), {"domains/d001.txt": None}),
        r"genmodel cannot load it",
    ),
    "a bomb": (lambda: _bomb(), r"more than the \d+ that are allowed"),
    "a large model.ini": (lambda: _zip({"model.ini": bytes(65 * 1024**2)}), r"the limit is 67108864"),
}


def _shortened(content: bytes, name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {one: archive.read(one) for one in archive.namelist()}
    return _zip({**entries, name: entries[name][: len(entries[name]) // 2]})


def _zip(entries: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as written:
        for name, data in entries.items():
            written.writestr(name, data)
    return target.getvalue()


def _bomb() -> bytes:
    """A file whose directory declares more bytes than are allowed."""
    content = bytearray(_zip({"model.ini": b"[info]"}))
    place = content.index(b"PK\x01\x02") + 24
    content[place : place + 4] = (EXPANSION_FLOOR + 1).to_bytes(4, "little")
    return bytes(content)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_right_is_refused_with_the_reason(name: str) -> None:
    make, reason = REFUSED[name]
    with pytest.raises(ModelLoadError, match=f"^model 'm' version 3: .*({reason})") as raised:
        inline(make())
    assert "\n" not in str(raised.value)


def test_a_changed_byte_is_noticed_wherever_it_is() -> None:
    """Java does not compare the checksums of a zip file's entries; without our check, some files would be scored."""
    content = mojo("gbm_binomial")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entry = archive.getinfo("trees/t00_001.bin")
        start = entry.header_offset + 30 + len(entry.filename)
    for place in range(start, start + entry.compress_size, 7):
        damaged = bytearray(content)
        damaged[place] ^= 0x10
        with pytest.raises(ModelLoadError, match=r"damaged|cannot be read"):
            inline(bytes(damaged))


def test_trees_of_random_bytes_end_in_an_error_or_an_answer_and_never_the_process() -> None:
    random = np.random.default_rng(5)
    with zipfile.ZipFile(io.BytesIO(mojo("gbm_binomial"))) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    for _ in range(30):
        trees = {name: random.bytes(len(data)) for name, data in entries.items() if name.startswith("trees/")}
        try:
            scorer = inline(_zip({**entries, **trees}))
        except ModelLoadError:
            continue
        scorer.close()
    assert inline(mojo("gbm_binomial")).score(rows_of(5)).outputs


def test_a_folder_with_one_file_is_a_model_too(tmp_path: Path) -> None:
    (tmp_path / "wine.zip").write_bytes(constant(4))
    source = ModelSource(ModelDescriptor("m", "h2o-mojo", 3, model_source_location=str(tmp_path)), None, LocalOpener())
    assert load_scorer(source).score({"x": np.zeros(2)}).outputs["prediction"].tolist() == [4.0, 4.0]


def test_jars_that_are_missing_or_others_are_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mojo("gbm_binomial")
    copies = tmp_path / "jars"
    copies.mkdir()
    for jar in usable_jars():
        (copies / jar.name).write_bytes(jar.read_bytes())
    key = (usable_jars()[0].parent / KEY_FILE).read_text()
    monkeypatch.setenv(FOLDER_VARIABLE, str(copies))
    for text in ("", "0" * 64):
        (copies / KEY_FILE).write_text(text)
        with pytest.raises(JarsMissingError, match=r"h2o-batches\.jar is missing, or belongs to another version"):
            usable_jars()
    (copies / KEY_FILE).write_text(key)
    assert usable_jars()[0] == copies / OUR_JAR
    (copies / "gson-2.9.1.jar").write_bytes(b"another")
    with pytest.raises(
        JarsMissingError, match=r"gson-2\.9\.1\.jar has the digest .*python -m runners\.local\.h2o_jars"
    ):
        usable_jars()
    with pytest.raises(JarsMissingError, match=r"cannot be read: No such file.*BEAM_SERVING_H2O_JARS"):
        checked_jars(tmp_path / "nowhere")


def test_a_forked_child_gets_an_error_instead_of_waiting_for_ever() -> None:
    mojo("gbm_binomial")
    done = _run(
        """
        import os
        from models.scorers.h2o_mojo.scorer import prepare
        prepare()
        child = os.fork()
        if child == 0:
            try:
                prepare()
            except Exception as error:
                print(type(error).__name__, error, flush=True)
            os._exit(7)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """
    )
    assert "JavaMachineError this process was forked from one that had started Java" in done.stdout
    assert done.stdout.endswith("7\n")


def test_the_signals_that_end_a_worker_stay_pythons() -> None:
    mojo("gbm_binomial")
    done = _run(
        """
        import os, signal
        from models.scorers.h2o_mojo.scorer import prepare
        signal.signal(signal.SIGTERM, lambda *_: print("ended cleanly", flush=True))
        prepare()
        os.kill(os.getpid(), signal.SIGTERM)
        """
    )
    assert (done.stdout, done.returncode) == ("ended cleanly\n", 0)


def test_a_machine_without_java_is_told_what_to_install() -> None:
    mojo("gbm_binomial")
    done = _run(
        """
        import jpype
        def missing():
            raise jpype.JVMNotFoundException("No JVM shared library file (libjvm.so) found.")
        jpype.getDefaultJVMPath = jpype._core.getDefaultJVMPath = missing
        from models.scorers.h2o_mojo.scorer import prepare
        try:
            prepare()
        except Exception as error:
            print(type(error).__name__, error)
        """
    )
    assert done.stdout.startswith("JavaMachineError Java cannot be started: No JVM shared library")
    assert "install a Java runtime, 11 or newer" in done.stdout


def test_a_jar_that_java_was_started_without_is_named(tmp_path: Path) -> None:
    inline(mojo("gbm_binomial"))
    with pytest.raises(ModelLoadError, match=r"already started Java without .*another\.jar; restart it"):
        java_class("java.lang.String", [tmp_path / "another.jar"])


def _run(program: str) -> subprocess.CompletedProcess[str]:
    """Runs a program in its own process, because a process can only have one Java machine."""
    lines = "\n".join(line[8:] for line in program.splitlines())
    return subprocess.run([sys.executable, "-c", lines], cwd=ROOT, capture_output=True, text=True, timeout=60)
