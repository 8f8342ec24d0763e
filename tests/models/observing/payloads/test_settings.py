from __future__ import annotations

import sys
from pathlib import Path

import pytest

from models.errors import MissingExtraError, OptionsError
from models.observing.payloads.file_settings import FileSettings
from models.observing.payloads.settings import PayloadSettings
from transforms.file_systems import BeamFiles, check_folder

# What another test has imported would be found without a check of its package.
PARTS = ("tensorflow_serving.", "models.observing.payloads.prediction_log", "models.scorers.servers.tensorflow_serving")


def test_a_log_without_a_destination_is_refused() -> None:
    with pytest.raises(OptionsError, match="--payload-share needs --payload-folder or --payload-topic"):
        PayloadSettings(0.1, "wine").check()


def test_files_without_their_package_name_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(PARTS)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorflow_serving", None)  # as an import finds it that is not installed
    with pytest.raises(MissingExtraError, match=r"beam-serving\[servers\]"):
        PayloadSettings(0.1, "wine", FileSettings(str(tmp_path), BeamFiles())).check()


def test_a_folder_on_an_unknown_file_system_is_refused_with_the_known_ones() -> None:
    with pytest.raises(OptionsError, match=r"--payload-folder 'ftp://x/y' cannot be written.*azfs, gs, hdfs, s3"):
        check_folder("ftp://x/y", "payload-folder")
    check_folder("log", "payload-folder")
    check_folder("gs://bucket/log", "payload-folder")
