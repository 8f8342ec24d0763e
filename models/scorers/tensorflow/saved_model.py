"""modelType `tensorflow-saved-model`: a SavedModel of TensorFlow 1 or 2, run in this process.

The model is an inline zip file, or a location that is a folder or a zip file. Options:

- `tags`: the tag set to load, comma-separated. Default: `serve` if the model has it, otherwise its first tag set.

If the model contains warm-up requests (`models.scorers.tensorflow.warm_up_requests`), it must be able to answer them.

The model runs in a `tf.compat.v1.Session`, as it does in TensorFlow Serving and in the JVM's SavedModelBundle, and not
through `tf.saved_model.load`. Measurements of both (TensorFlow 2.21, 2 cores):

- Memory. Closing a session frees the weights at once. The result of `tf.saved_model.load` is full of reference cycles:
  when a 50 MB model was loaded and dropped 24 times, memory grew from 690 to 1,060 MB before Python's garbage collector
  ran. With `gc.collect()` after each load it stayed at 690, but that stops all scoring for 150 to 200 ms.
- Speed. A call of the recommender with 5,000 rows takes 0.37 to 0.48 ms (1 row: 0.29 to 0.34), the signature's
  concrete function 0.53 to 0.57 (1 row: 0.35 to 0.43). Loading takes the same time, 15 ms.
- It reads TF1 models and TF2 models alike.

Calls are not serialized. Concurrent calls compete only for the cores and the interpreter: with 8 threads that each do
1.2 ms of Python between calls, a small model does 660 to 690 calls/s with and without a lock around the call. A heavier
one (500 rows through 512 x 512) does 380 to 480 without and 270 to 325 with a lock, p99 31 to 41 ms without and 66 with
it; a fast model beside a slow one does 418 calls/s without and 30 with it. A lock would therefore have no benefit.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from models.artifacts.archive import SAVED_MODEL_FILE, open_saved_model
from models.artifacts.background import in_background
from models.artifacts.fetching import FetchedModel
from models.errors import ModelLoadError, ScorerOptionError
from models.model_topic.descriptor import ModelDescriptor
from models.scorers.base import ModelSource, Scorer
from models.scorers.in_process import ModelFolder, load_published, selected_outputs
from models.scorers.tensorflow.session import (
    OpenedModel,
    SessionScorer,
    choose_signature,
    one_line,
    prepare_session,
    tensor_dtype,
    tensor_shape,
    tensorflow_module,
)
from models.tensors import Signature, TensorSpec

IN_PROCESS = True
KNOWN_OPTIONS = ("tags",)
DEFAULT_TAGS = frozenset({"serve"})

# TensorFlow 2 lists internal operations in the signature table, under these names.
_INTERNAL_SIGNATURES = ("__saved_model_init_op", "__saved_model_train_op")


def load(source: ModelSource) -> Scorer:
    """Fetches the model, checks its digest, and opens it.

    Raises:
      ScorerOptionError: when an option is unknown, or the model lacks the tag set.
      DigestMismatchError: when the fetched model differs from the published one.
      AdmissionError: when the model cannot answer one of its own warm-up requests.
      ModelLoadError: when the model is missing or broken, or lacks the signature.
    """
    return load_published(source, KNOWN_OPTIONS, partial(_opened, source))


def prepare() -> None:
    """Imports TensorFlow and runs a session once, which starts its threads.

    Raises:
      ModelLoadError: when TensorFlow cannot be imported.
    """
    prepare_session()


def _opened(source: ModelSource, fetched: FetchedModel, folder: ModelFolder) -> SessionScorer:
    descriptor = source.descriptor
    model = open_saved_model(fetched.content, Path(folder.name) / "model")
    scorer = SessionScorer(descriptor, fetched.digest, _open(model, descriptor), folder)
    if source.warm_up:
        _warm_up(scorer, model)
    # The weights are in memory and the tables are filled, but a graph may read an asset in each call.
    if not _has_assets(model):
        folder.cleanup()
    return scorer


def _warm_up(scorer: SessionScorer, model: Path) -> None:
    """Runs the model's own warm-up requests; closes the model if it cannot answer one."""
    # This imports TensorFlow, which only the first model should do.
    from models.scorers.tensorflow.warm_up_requests import run_warm_up_requests

    try:
        run_warm_up_requests(scorer, model)
    except BaseException:
        scorer.close()
        raise


def _has_assets(model: Path) -> bool:
    assets = model / "assets"
    return assets.is_dir() and any(assets.iterdir())


def _open(model: Path, descriptor: ModelDescriptor) -> OpenedModel:
    graphs = _parse(model).meta_graphs
    tags = _choose_tags([frozenset(graph.meta_info_def.tags) for graph in graphs], descriptor.options.get("tags"))
    graph = next(graph for graph in graphs if frozenset(graph.meta_info_def.tags) == tags)
    table = {name: value for name, value in graph.signature_def.items() if name not in _INTERNAL_SIGNATURES}
    name = choose_signature(sorted(table), descriptor.signature)
    feeds = {key: _tensor_name(key, info) for key, info in sorted(table[name].inputs.items())}
    fetches = {key: _tensor_name(key, info) for key, info in sorted(table[name].outputs.items())}
    if not feeds or not fetches:
        raise ModelLoadError(f"signature {name!r} has no inputs or no outputs; name another one")
    signature = Signature(name, _specs(table[name].inputs), _specs(table[name].outputs))
    wanted = {key: fetches[key] for key in selected_outputs(fetches, descriptor)}
    return OpenedModel(_session(model, tags), signature, feeds, wanted)


def _parse(model: Path) -> Any:
    """The SavedModel message of `model`. Reading it first is cheap, and lets a refusal name what exists."""
    tensorflow_module()
    from tensorflow.core.protobuf import saved_model_pb2

    message = saved_model_pb2.SavedModel()
    try:
        message.ParseFromString((model / SAVED_MODEL_FILE).read_bytes())
    except Exception as error:
        raise ModelLoadError(f"{SAVED_MODEL_FILE} is not a SavedModel: {one_line(error)}") from error
    if not message.meta_graphs:
        raise ModelLoadError(f"{SAVED_MODEL_FILE} is not a SavedModel: it contains no graph")
    return message


def tags_of(model: Path, descriptor: ModelDescriptor) -> list[str]:
    """The tag set that is loaded, sorted.

    Raises:
      ScorerOptionError: the descriptor names a tag set that the model lacks.
      ModelLoadError: the file is not a SavedModel.
    """
    present = [frozenset(graph.meta_info_def.tags) for graph in _parse(model).meta_graphs]
    return sorted(_choose_tags(present, descriptor.options.get("tags")))


def _choose_tags(present: list[frozenset[str]], asked: str | None) -> frozenset[str]:
    """The requested tag set; by default `serve`, or the first one if the model lacks it, as in the reference system."""
    if asked is None:
        return DEFAULT_TAGS if DEFAULT_TAGS in present else present[0]
    tags = frozenset(tag.strip() for tag in asked.split(",") if tag.strip())
    if tags not in present:
        existing = "; ".join(",".join(sorted(each)) or "(no tag)" for each in present)
        raise ScorerOptionError(f"option tags={asked!r}: the model has no such tag set; it has: {existing}")
    return tags


def _tensor_name(key: str, info: Any) -> str:
    if info.WhichOneof("encoding") != "name":
        raise ModelLoadError(f"{key!r} of the signature is a sparse or composite tensor; only dense ones are served")
    name: str = info.name
    return name


def _specs(table: Mapping[str, Any]) -> dict[str, TensorSpec]:
    return {
        key: TensorSpec(key, tensor_dtype(key, info.dtype), tensor_shape(info.tensor_shape))
        for key, info in sorted(table.items())
    }


class _Restoring:
    """A session as the loader of SavedModels uses it, whose calls leave the processor to the calls that score.

    Restoring the variables of a large model copies hundreds of megabytes. TensorFlow would do that on the threads that
    also score, at the same priority: so each call runs in a thread of its own, of a low priority. TensorFlow's threads
    that read large tensors are started by that thread, and Linux gives them its priority.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        self._inline = tensorflow_module().compat.v1.RunOptions(inter_op_thread_pool=-1)

    def run(self, fetches: Any, feed_dict: Any = None) -> Any:
        """Like `Session.run`."""
        return in_background(lambda: self._session.run(fetches, feed_dict, options=self._inline))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


def _session(model: Path, tags: frozenset[str]) -> Any:
    """A session with the model's variables restored and its tables filled."""
    tensorflow = tensorflow_module()
    graph = tensorflow.Graph()
    session = tensorflow.compat.v1.Session(graph=graph)
    try:
        with graph.as_default():
            tensorflow.compat.v1.saved_model.load(_Restoring(session), sorted(tags), str(model))
        graph.finalize()
    except Exception as error:
        session.close()
        text = one_line(error).replace(f"{model}/", "")
        raise ModelLoadError(f"TensorFlow cannot load it: {text}") from error
    return session
