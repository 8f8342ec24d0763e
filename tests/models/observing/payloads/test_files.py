"""Files of payloads, read by TensorFlow and tfx-bsl."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pytest
import tensorflow as tf
from apache_beam.options.value_provider import RuntimeValueProvider
from apache_beam.testing.util import assert_that
from tensorflow_serving.apis import prediction_log_pb2

from models.observing.payloads.file_settings import FileSettings
from models.observing.payloads.files import PayloadFiles
from models.observing.payloads.tf_records import framed
from models.observing.totals import Totals
from tests.models.observing.payloads.answers import Lengths, answered, counted, every, record
from transforms.file_systems import BeamFiles


@dataclass
class Clock:
    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Written:
    """Files in a folder, and what is counted."""

    folder: Path
    clock: Clock
    totals: Totals

    def files(self, **settings: Any) -> PayloadFiles:
        kept = FileSettings(str(self.folder), BeamFiles(), **settings)
        return PayloadFiles(kept, 0.5, "wine/a:1", self.totals, self.clock)

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob("*"))


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(tmp_path / "log", Clock(), Totals())


def logs_in(*paths: Path) -> list[prediction_log_pb2.PredictionLog]:
    """The messages in files, which TensorFlow checks against their checksums."""
    dataset = tf.data.TFRecordDataset([str(path) for path in paths])
    return [prediction_log_pb2.PredictionLog.FromString(one) for one in dataset.as_numpy_iterator()]


def test_a_file_gets_its_name_when_it_is_old_enough(written: Written) -> None:
    files = written.files(seconds=60)
    files.write(every(answered([record(), record()])))
    assert written.names() == ["wine-a-1-20231114T221320Z-00001.tfrecord.tmp"]
    written.clock.now += 59
    files.tick()
    assert counted(written.totals) == {}
    written.clock.now += 1
    files.tick()
    assert written.names() == ["wine-a-1-20231114T221320Z-00001.tfrecord"]
    assert counted(written.totals) == {"filed": 2}
    assert len(logs_in(*written.folder.glob("*"))) == 2
    files.tick()
    files.close()
    assert len(written.names()) == 1, "no empty files"


def test_a_file_that_is_large_enough_is_followed_by_another(written: Written) -> None:
    files = written.files(megabytes=1)
    text = "x" * 300_000
    for number in range(10):
        files.write(every(answered([record(label=text)], Lengths(), start=number, inputs={"text": ("label",)})))
    files.close()
    sizes = [path.stat().st_size for path in written.folder.glob("*.tfrecord")]
    assert len(sizes) == 3, "four records each, and two"
    assert max(sizes) < 1_000_000 + 2 * len(text)
    assert counted(written.totals) == {"filed": 10}


def test_closing_completes_the_file(written: Written) -> None:
    files = written.files()
    files.write(every(answered([record(0.25), record(-1), record(0.75)])))
    files.close()
    scores = [
        tf.make_ndarray(log.predict_log.response.outputs["scores"]).tolist()
        for log in logs_in(*written.folder.glob("*.tfrecord"))
    ]
    assert sorted(scores) == [[[0.25, 0.75]], [[0.75, 0.25]]], "without the record that has no answer"


def test_a_folder_that_cannot_be_written_costs_its_payloads_and_is_tried_again(written: Written) -> None:
    written.folder.write_text("in the way")
    files = written.files()
    files.write(every(answered([record(), record()])))
    assert counted(written.totals) == {"failed": 2}
    written.folder.unlink()
    files.write(every(answered([record()])))
    assert not written.folder.exists(), "not at once"
    written.clock.now += 31
    files.write(every(answered([record()])))
    files.close()
    assert counted(written.totals) == {"failed": 3, "filed": 1}
    assert len(logs_in(*written.folder.glob("*"))) == 1


def test_a_file_whose_name_is_taken_by_a_folder_is_given_up(written: Written) -> None:
    files = written.files()
    files.write(every(answered([record(), record()])))
    (name,) = written.names()
    (written.folder / name.removesuffix(".tmp") / "x").mkdir(parents=True)
    files.close()
    assert counted(written.totals) == {"failed": 2}


def test_tensorflow_reads_records_of_any_size_and_finds_a_changed_byte(tmp_path: Path) -> None:
    records = [random.Random(size).randbytes(size) for size in (*range(300), 100_000)]
    path = tmp_path / "any.tfrecord"
    content = b"".join(map(framed, records))
    path.write_bytes(content)
    assert list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator()) == records
    path.write_bytes(content[:-20] + b"?" + content[-19:])
    with pytest.raises(tf.errors.DataLossError):
        list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())


def test_tfx_bsl_reads_the_files(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    from tfx_bsl.tfxio.raw_tf_record import RawTfRecordTFXIO

    files = written.files()
    files.write(every(answered([record(0.25, 1), record(0.75, 2)])))
    files.close()
    read = RawTfRecordTFXIO(str(written.folder / "*.tfrecord"), "log", telemetry_descriptors=["beam-serving", "tests"])
    # The runner sets them for this process; a template that is built in it later may not have any.
    monkeypatch.setattr(RuntimeValueProvider, "runtime_options", None)
    # The DirectRunner would first look for a Prism of its own, and Beam keeps what it found for this whole process.
    with beam.Pipeline("FnApiRunner") as pipeline:
        inputs = pipeline | read.BeamSource() | beam.FlatMap(inputs_of)
        assert_that(inputs, expect([[[0.25, 1.0]], [[0.75, 2.0]]]))


def inputs_of(batch: pa.RecordBatch) -> list[Any]:
    logs = [prediction_log_pb2.PredictionLog.FromString(one) for one in batch.column("log").flatten().to_pylist()]
    return [tf.make_ndarray(log.predict_log.request.inputs["v"]).tolist() for log in logs]


def expect(values: list[Any]) -> Callable[[list[Any]], None]:
    def check(found: list[Any]) -> None:
        assert sorted(found) == values, found

    return check
