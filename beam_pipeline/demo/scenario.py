"""The changes to models while the stream flows. Every step waits until its effect is visible."""

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
from models.model_topic.publisher import ModelPublisher

MODEL = "wine"
# How long the steps of a pass take without their pauses: they publish (slowly, because the embedded broker does not
# answer DescribeConfigs) and load models.
_WORK_SECONDS = 14.0
_PATIENCE_SECONDS = 120.0
_MALFORMED_RECORDS = (b"", b"not a wine", b"\x02a" + b"\x00" * 40, b'{"lot_id": "1", "alcohol": 12.5}', b"\xff" * 100)
_MALFORMED_DESCRIPTOR = b"not a descriptor"


class ScenarioError(ServingError):
    """A step of the demo did not have its effect."""


class _StoppedError(Exception):
    """The demo was stopped."""


class Scenario:
    """Publishes, retires and rolls back models in its own thread: call `start`, then watch `ended` and `failure`.

    Args:
      kafka, models_topic: where to publish models.
      models: the trained models.
      work_folder: the folder for the broken model.
      stream: sends the malformed records.
      scoreboard: shows the effects of the steps, and takes events.
      seconds: the approximate duration of a pass.
      forever: whether to repeat the pass until the demo is stopped.
      shares_files: whether the pipeline can read a model by its location on this machine.
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
        *,
        shares_files: bool = True,
    ) -> None:
        self._kafka = kafka
        self._topic_name = models_topic
        self._topic = ModelPublisher(kafka, models_topic)
        self._models = models
        self._broken = break_model(models.good, work_folder / "broken")
        self._stream = stream
        self._scoreboard = scoreboard
        self._pace = max(0.1, (seconds - _WORK_SECONDS) / (USUAL_SECONDS - _WORK_SECONDS))
        self._forever = forever
        self._shares_files = shares_files
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scenario", daemon=True)
        self.ended = threading.Event()
        self.failure: ServingError | None = None
        self.passes = 0

    def start(self) -> None:
        """Starts the first pass."""
        self._thread.start()

    def close(self) -> None:
        """Stops at the current step, and waits for a publication in progress."""
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
            self.failure = ScenarioError(f"the demo failed unexpectedly: {type(error).__name__}: {error}")
        finally:
            self.ended.set()

    def _pass(self) -> None:
        self._scoreboard.add_event("the stream flows without a model, and results say so", "quiet")
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
        self._scoreboard.add_event("starting over", "quiet")
        self._retire()

    def _publish_weak(self) -> None:
        folder = self._models.weak
        description = f"logistic regression, {RECIPES['weak'].rows} rows"
        if self._shares_files:
            draft = draft_of(description, location=str(folder))
        else:
            draft = draft_of(description, content=zip_folder(folder))
        version = self._publish(draft, "weak", f"a weak model, by its {'location' if self._shares_files else 'bytes'}")
        self._await_handover(f"v{version} was published but did not score any record")
        self._scoreboard.add_event(f"v{version} is scoring", "good")

    def _publish_good(self) -> int:
        draft = draft_of(
            f"network of {RECIPES['good'].hidden} neurons, all rows", content=zip_folder(self._models.good)
        )
        version = self._publish(draft, "good", "a good model, with its bytes in the stream")
        self._await_handover(f"v{version} was published but did not score any record")
        self._scoreboard.add_event(f"v{version} is scoring: watch the accuracy", "good")
        return version

    def _publish_broken(self, serving: int) -> None:
        draft = draft_of("the good model without its variables", content=zip_folder(self._broken))
        version = self._publish(draft, "broken", "a broken model, bypassing the check at publishing", awaited=False)
        self._await(
            lambda snapshot: any(refusal.version == version for refusal in snapshot.refusals),
            f"no worker reported that the broken v{version} cannot be loaded",
        )
        scored = self._scoreboard.snapshot().line(serving).records
        self._await(
            lambda snapshot: snapshot.line(serving).records > scored,
            f"v{serving} did not keep scoring when v{version} was refused",
        )
        self._scoreboard.add_event(f"v{version} is refused, and v{serving} keeps scoring", "bad")

    def _send_malformed(self) -> None:
        self._stream.send_malformed(_MALFORMED_RECORDS)
        self._scoreboard.send_malformed(descriptor=True)
        producer = self._kafka.producer()
        producer.produce(self._topic_name, _MALFORMED_DESCRIPTOR, MODEL.encode(), partition=0)
        producer.flush(10)
        self._scoreboard.add_event(f"sent {len(_MALFORMED_RECORDS)} malformed records and a malformed descriptor")
        self._await(_all_dead_letters, "some malformed messages did not reach the dead-letter topic")
        self._scoreboard.add_event("all of them are dead letters, and the stream flows on", "good")

    def _retire(self) -> None:
        pointer = self._topic.retire(MODEL)
        self._scoreboard.expect("retired", None, pointer.updated_at / 1000)
        self._scoreboard.add_event(f"model {MODEL!r} is retired")
        self._await_handover(f"model {MODEL!r} was retired, but no result says so")
        self._scoreboard.add_event("results say that there is no model", "quiet")

    def _roll_back(self, good: int) -> None:
        pointer = self._topic.rollback(MODEL, good)
        self._scoreboard.expect(f"rollback to v{good}", good, pointer.updated_at / 1000)
        self._scoreboard.add_event(f"rollback to v{good}")
        self._await_handover(f"the rollback to v{good} succeeded, but v{good} did not score any record")
        self._scoreboard.add_event(f"v{good} is scoring again", "good")

    def _publish(self, draft: ModelDescriptor, kind: Kind, text: str, awaited: bool = True) -> int:
        """Publishes without the check of `beam-serving models publish`, which would refuse the broken model."""
        published = self._topic.publish(draft)
        version = published.model_version
        self._scoreboard.name_version(version, kind, draft.description or "")
        if awaited:
            self._scoreboard.expect(f"v{version} published", version, published.published_at / 1000)
        self._scoreboard.add_event(f"v{version} published: {text}")
        return version

    def _await_handover(self, otherwise: str) -> None:
        self._await(lambda snapshot: not snapshot.expecting, otherwise)

    def _await(self, condition: Callable[[Snapshot], bool], otherwise: str) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not self._scoreboard.wait_for(condition, 0.5):
            if self._stop.is_set():
                raise _StoppedError
            if time.monotonic() > deadline:
                raise ScenarioError(f"{otherwise} within {_PATIENCE_SECONDS:g} s")

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds * self._pace):
            raise _StoppedError


def _all_dead_letters(snapshot: Snapshot) -> bool:
    return (
        snapshot.dead_records >= snapshot.malformed_sent
        and snapshot.dead_descriptors >= snapshot.malformed_descriptors_sent
    )


def draft_of(description: str, location: str | None = None, content: bytes | None = None) -> ModelDescriptor:
    """The descriptor of a wine model, given by its location or by its bytes."""
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
