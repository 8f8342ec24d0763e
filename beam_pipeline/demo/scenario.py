"""What happens to the models while the stream flows. Every step waits until its effect has been seen."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from beam_pipeline.demo import USUAL_SECONDS
from beam_pipeline.demo.record_stream import RecordStream
from beam_pipeline.demo.scoreboard import Scoreboard
from beam_pipeline.demo.snapshot import Kind, Snapshot
from beam_pipeline.demo.trained_models import TrainedModels, break_model
from beam_pipeline.demo.training import RECIPES, SIGNATURE
from beam_pipeline.publishing.wine_data import MEASURES
from models.artifacts.archive import zip_folder
from models.artifacts.digest import digest_of_bytes, digest_of_path
from models.errors import ServingError
from models.kafka.client import KafkaSettings
from models.model_topic.descriptor import ModelDescriptor
from models.model_topic.publisher import ModelsTopic

MODEL = "wine"
# What the steps of a pass take besides their pauses: publishing on a broker that answers no DescribeConfigs, loading.
_WORK_SECONDS = 14.0
_PATIENCE_SECONDS = 120.0
_MALFORMED_RECORDS = (b"", b"not a wine", b"\x02a" + b"\x00" * 40, b'{"lot_id": "1", "alcohol": 12.5}', b"\xff" * 100)
_MALFORMED_DESCRIPTOR = b"not a descriptor"


class ScenarioError(ServingError):
    """What a step of the demo should have brought about did not happen."""


class _StoppedError(Exception):
    """Somebody stopped the demo."""


class Scenario:
    """Publishes, retires and rolls back in a thread of its own: `start`, then look at `ended` and `failure`.

    Args:
      kafka, models_topic: where models are published.
      models: the trained models.
      work_folder: for the broken one.
      stream: sends the malformed records.
      scoreboard: where the effects are seen, and what happens is told.
      seconds: that a pass takes, about.
      forever: whether it begins again at its end.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        models_topic: str,
        models: TrainedModels,
        work_folder: Path,
        stream: RecordStream,
        scoreboard: Scoreboard,
        seconds: float = USUAL_SECONDS,
        forever: bool = False,
    ) -> None:
        self._kafka = kafka
        self._topic_name = models_topic
        self._topic = ModelsTopic(kafka, models_topic)
        self._models = models
        self._broken = break_model(models.good, work_folder / "broken")
        self._stream = stream
        self._scoreboard = scoreboard
        self._pace = max(0.1, (seconds - _WORK_SECONDS) / (USUAL_SECONDS - _WORK_SECONDS))
        self._forever = forever
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scenario", daemon=True)
        self.ended = threading.Event()
        self.failure: ServingError | None = None
        self.passes = 0

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def close(self) -> None:
        """Stops it where it is; a publication that is under way is waited for."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._pass()
            while self._forever:
                self._start_over()
                self._pass()
        except _StoppedError:
            pass
        except ServingError as error:
            self.failure = error
        except Exception as error:
            self.failure = ScenarioError(f"the demo failed in an unforeseen way: {type(error).__name__}: {error}")
        finally:
            self.ended.set()

    def _pass(self) -> None:
        self._scoreboard.tell("the stream flows, and there is no model: results say so", "quiet")
        self._pause(3)
        self._publish_weak()
        self._pause(6)
        good = self._publish_good()
        self._pause(6)
        self._publish_broken(good)
        self._pause(4)
        self._send_malformed()
        self._pause(2)
        self._retire()
        self._pause(3)
        self._roll_back(good)
        self._pause(5)
        self.passes += 1

    def _start_over(self) -> None:
        self._scoreboard.tell("from the beginning", "quiet")
        self._retire()

    def _publish_weak(self) -> None:
        folder = self._models.weak
        draft = draft_of(f"logistic regression, {RECIPES['weak'].rows} rows", location=str(folder))
        version = self._publish(draft, "weak", "a weak model, at a location")
        self._await_handover(f"v{version} is published, but scored nothing")
        self._scoreboard.tell(f"v{version} scores", "good")

    def _publish_good(self) -> int:
        draft = draft_of(
            f"network of {RECIPES['good'].hidden} neurons, all rows", content=zip_folder(self._models.good)
        )
        version = self._publish(draft, "good", "a good model, its bytes in the stream")
        self._await_handover(f"v{version} is published, but scored nothing")
        self._scoreboard.tell(f"v{version} scores: watch the accuracy", "good")
        return version

    def _publish_broken(self, serving: int) -> None:
        draft = draft_of("the good one, variables missing", content=zip_folder(self._broken))
        version = self._publish(draft, "broken", "a broken model, past the check of `models publish`", awaited=False)
        self._await(
            lambda snapshot: any(refusal.version == version for refusal in snapshot.refusals),
            f"nobody said that the broken v{version} cannot be loaded",
        )
        scored = self._scoreboard.snapshot().line(serving).records
        self._await(
            lambda snapshot: snapshot.line(serving).records > scored,
            f"v{serving} did not go on serving when v{version} was refused",
        )
        self._scoreboard.tell(f"v{version} is refused, v{serving} goes on serving", "bad")

    def _send_malformed(self) -> None:
        self._stream.send_malformed(_MALFORMED_RECORDS)
        self._scoreboard.send_malformed(descriptor=True)
        producer = self._kafka.producer()
        producer.produce(self._topic_name, _MALFORMED_DESCRIPTOR, MODEL.encode(), partition=0)
        producer.flush(10)
        self._scoreboard.tell(f"{len(_MALFORMED_RECORDS)} malformed records and a malformed descriptor are sent")
        self._await(_all_dead_letters, "not everything malformed came to the dead-letter topic")
        self._scoreboard.tell("all of them are dead letters; the stream goes on", "good")

    def _retire(self) -> None:
        pointer = self._topic.retire(MODEL)
        self._scoreboard.expect("retired", None, pointer.updated_at / 1000)
        self._scoreboard.tell(f"model {MODEL!r} is retired")
        self._await_handover(f"model {MODEL!r} is retired, but no result says so")
        self._scoreboard.tell("results say: no model", "quiet")

    def _roll_back(self, good: int) -> None:
        pointer = self._topic.rollback(MODEL, good)
        self._scoreboard.expect(f"rollback to v{good}", good, pointer.updated_at / 1000)
        self._scoreboard.tell(f"rollback to v{good}")
        self._await_handover(f"v{good} was rolled back to, but scored nothing")
        self._scoreboard.tell(f"v{good} scores again", "good")

    def _publish(self, draft: ModelDescriptor, kind: Kind, said: str, awaited: bool = True) -> int:
        """Publishes without the check of `beam-serving models publish`, which would refuse the broken one here."""
        published = self._topic.publish(draft)
        version = published.model_version
        self._scoreboard.name_version(version, kind, draft.description or "")
        if awaited:
            self._scoreboard.expect(f"v{version} published", version, published.published_at / 1000)
        self._scoreboard.tell(f"v{version} published: {said}")
        return version

    def _await_handover(self, otherwise: str) -> None:
        self._await(lambda snapshot: not snapshot.expecting, otherwise)

    def _await(self, condition: Callable[[Snapshot], bool], otherwise: str) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not self._scoreboard.wait_for(condition, 0.5):
            if self._stop.is_set():
                raise _StoppedError
            if time.monotonic() > deadline:
                raise ScenarioError(f"{otherwise}, {_PATIENCE_SECONDS:g} s later")

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds * self._pace):
            raise _StoppedError


def _all_dead_letters(snapshot: Snapshot) -> bool:
    return (
        snapshot.dead_records >= snapshot.malformed_sent
        and snapshot.dead_descriptors >= snapshot.malformed_descriptors_sent
    )


def draft_of(description: str, location: str | None = None, content: bytes | None = None) -> ModelDescriptor:
    """A model of wines, to be published: at a location, or as bytes in the stream."""
    digest = digest_of_path(Path(location)) if location is not None else digest_of_bytes(content or b"")
    return ModelDescriptor(
        MODEL,
        "tensorflow-saved-model",
        description=description,
        model_source_location=location,
        model_bytes=content,
        signature=SIGNATURE,
        inputs={"inputs": MEASURES},
        digest=digest,
    )
