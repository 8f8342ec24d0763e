"""modelType `pfa`: a PFA 0.8.1 engine, run in this process by our own evaluator.

The model is a .pfa or .json file. It has no options. If its input is a record, the inputs are its fields; otherwise
there is one, `input`. The outputs are the fields of a record or the keys of a map; otherwise there is one, `output`.
Texts are UTF-8 bytes. Where null is allowed, NaN and the empty text stand for null.

A document with an unsupported expression or function is refused, so that no result can be wrong for lack of support.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from models.artifacts.fetching import FetchedModel
from models.artifacts.model_file import read_model_file
from models.scorers.base import ModelSource, Scorer
from models.scorers.called import CalledScorer, Callee
from models.scorers.in_process import ModelFolder, load_published
from models.scorers.pfa.document import read_document
from models.scorers.pfa.elements import MOST_BYTES
from models.scorers.pfa.exchange import Exchange

IN_PROCESS = True
SUFFIXES = (".pfa", ".json")


def load(source: ModelSource) -> Scorer:
    """Fetches the model, checks its digest, and compiles it.

    Raises:
      ScorerOptionError: when there is an option.
      DigestMismatchError: when the fetched model differs from the published one.
      ModelLoadError: when the model is missing or broken, or contains something that is not supported; the message
        names it.
    """
    return load_published(source, (), partial(_opened, source))


def prepare() -> None:
    """Does nothing, because importing this module is enough."""


def _opened(source: ModelSource, fetched: FetchedModel, folder: ModelFolder) -> CalledScorer:
    content = read_model_file(fetched.content, Path(folder.name) / "model", SUFFIXES, MOST_BYTES)
    folder.cleanup()
    exchange = Exchange.of(read_document(content))
    return CalledScorer(source, fetched.digest, Callee(exchange.outputs, exchange.signature))
