"""modelType `pytorch`: a program that PyTorch has exported, run in this process (the extra `pytorch` installs it).

The model is one file: an exported program (.pt2, `torch.export.save`), or TorchScript (.pt or .ts, `torch.jit.save`).
Both are programs that consist of PyTorch's operators. A file written by `torch.save` is a pickle without a program, and
is rejected.

The inputs have the names of the parameters of `forward`. A returned tensor is the output `output`; a tuple becomes
`output_0`, `output_1` and so on, and a dict becomes one output for each key. An exported program knows the types and
shapes; the first dimension of each input must accept any size (`dynamic_shapes`). TorchScript knows neither types nor
shapes, so options define them.

A file that would run code while it is loaded is rejected unless the deployment allows it (`models.artifacts.pickles`).
Programs that read or write files, use operators of other packages, or change their own state between calls are
rejected as well.

Every call runs on the thread that makes it, as for onnxruntime. Calls are not serialized.

Options
  input.NAME  for TorchScript: the type of an input, and the sizes of its dimensions after the rows, as in
              `float32:3x224x224`. A size may be `any`; without sizes, the input has one value for each row.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.artifacts.archive import check_archive
from models.artifacts.fetching import FetchedModel
from models.artifacts.model_file import open_model_file
from models.errors import ModelLoadError, ScoringError
from models.model_topic.descriptor import ModelDescriptor
from models.scorers.base import ModelSource, Scorer, Scores
from models.scorers.in_process import (
    InProcessScorer,
    ModelFolder,
    check_inputs,
    check_rows,
    check_shapes,
    check_signature_name,
    load_published,
)
from models.scorers.pytorch.archive_records import ArchiveRecords
from models.scorers.pytorch.exported_program import open_exported_program
from models.scorers.pytorch.input_option import OPTION_PREFIX
from models.scorers.pytorch.program import SIGNATURE, Program, named_results, one_line
from models.scorers.pytorch.torch_script import open_torch_script
from models.tensors import Array

IN_PROCESS = True
SUFFIXES = (".pt2", ".pt", ".ts")
REMEDY = "save the model with torch.export.save"


def load(source: ModelSource) -> Scorer:
    """Fetches the model, checks its digest, and opens it.

    Raises:
      ScorerOptionError: an option is unknown, or does not describe an input.
      DigestMismatchError: the fetched model differs from the published one.
      PickleRefusedError: loading it runs code that the deployment does not allow.
      ModelLoadError: the model is missing or broken, does more than compute, or cannot score batches.
    """
    named = [name for name in source.descriptor.options if name.startswith(OPTION_PREFIX)]
    return load_published(source, [f"{OPTION_PREFIX}NAME", *named], partial(_opened, source))


def prepare() -> None:
    """Limits PyTorch to one thread; importing this module has already imported PyTorch."""
    torch.set_num_threads(1)


def _opened(source: ModelSource, fetched: FetchedModel, folder: ModelFolder) -> PytorchScorer:
    check_signature_name(source.descriptor, SIGNATURE)
    prepare()
    path = _model_file(fetched.content, Path(folder.name) / "model")
    check_archive(path)
    allow_code = partial(source.pickles.check, source.descriptor, fetched.digest)
    program = _open(path, source.descriptor, allow_code)
    folder.cleanup()
    return PytorchScorer(source.descriptor, fetched.digest, program)


class PytorchScorer(InProcessScorer):
    """A program of PyTorch; its memory is freed by `close`."""

    def __init__(self, descriptor: ModelDescriptor, digest: str, program: Program) -> None:
        super().__init__(descriptor, digest, program.signature)
        self._call: Callable[..., Any] | None = program.call

    def score(self, inputs: Mapping[str, Array]) -> Scores:
        """Scores rows.

        Raises:
          ScoringError: PyTorch fails (the message has its text on one line), the inputs or outputs are not those of
            the signature, or the outputs have another number of rows.
        """
        rows = check_inputs(inputs, self._signature.inputs)
        check_shapes(inputs, self._signature.inputs, rows)
        for name, spec in self._signature.inputs.items():
            if inputs[name].dtype != spec.dtype:
                raise ScoringError(f"input {name!r} is {inputs[name].dtype}, but {spec.dtype} is expected")
        results = self._results(inputs)
        missing = self._signature.outputs.keys() - results.keys()
        if missing:
            raise ScoringError(f"the model returned no output {min(missing)!r} this time")
        return Scores({name: check_rows(name, results[name], rows) for name in self._signature.outputs})

    def close(self) -> None:
        """Frees the memory of the model."""
        self._call = None

    def _results(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        assert self._call is not None, "the model is closed"
        # Copies, because a program may change its inputs, and ours are Arrow memory that other code reads.
        tensors = {name: torch.tensor(values) for name, values in inputs.items()}
        try:
            with torch.inference_mode():
                returned = self._call(**tensors)
        except Exception as error:  # PyTorch raises exceptions of many kinds
            raise ScoringError(one_line(error)) from error
        return {name: np.asarray(tensor.numpy()) for name, tensor in named_results(returned, ScoringError).items()}


def _open(path: Path, descriptor: ModelDescriptor, allow_code: Callable[[str], None]) -> Program:
    records = ArchiveRecords.open(path)
    if "archive_format" in records.names:
        path = path.rename(path.with_name("model.pt2"))  # PyTorch warns about other names
        return open_exported_program(path, descriptor, allow_code)
    if "constants.pkl" in records.names:
        return open_torch_script(path, records, descriptor, allow_code)
    if "data.pkl" in records.names:
        raise ModelLoadError(f"it was written by torch.save: a pickle of weights or classes, not a program; {REMEDY}")
    raise ModelLoadError(f"it is neither an exported program nor TorchScript; {REMEDY}")


def _model_file(content: bytes | Path, folder: Path) -> Path:
    """The file of the model, which is a zip file itself, and may be in another one."""
    if isinstance(content, bytes):
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "model.pt"
        path.write_bytes(content)
        content = path
    if content.is_file() and zipfile.is_zipfile(content) and not _is_program(content):
        content = content.rename(content.with_suffix(".zip"))
    return open_model_file(content, folder, SUFFIXES)


def _is_program(path: Path) -> bool:
    """Whether the file has PyTorch's records, which are in a folder of any name."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(("/data.pkl", "/archive_format")) for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError):
        return False
