"""Small PyTorch models, and how to save them as TorchScript and as exported programs."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch

from models.artifacts.local_opener import LocalOpener
from models.artifacts.pickles import NO_PICKLES, AllowedPickles
from models.model_topic.descriptor import ModelDescriptor
from models.scorers import load_scorer
from models.scorers.base import ModelSource, Scorer
from tests.models.scorers.learned import FEATURES

ROWS = torch.export.Dim("rows")
INPUT = {"input.x": f"float32:{FEATURES}"}


class Classifier(torch.nn.Module):
    """Two layers; returns a dict of probabilities and label."""

    def __init__(self, number: int) -> None:
        torch.manual_seed(number)
        super().__init__()
        self.hidden = torch.nn.Linear(FEATURES, 16)
        self.norm = torch.nn.BatchNorm1d(16)
        self.dropped = torch.nn.Dropout(0.5)
        self.last = torch.nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.last(self.dropped(torch.relu(self.norm(self.hidden(x)))))
        return {"probabilities": torch.softmax(logits, 1), "label": logits.argmax(1)}


class Pair(torch.nn.Module):
    """Returns a tuple, from two inputs, of which the second is a whole number without its own dimension."""

    def forward(self, x: torch.Tensor, bonus: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x.sum(1) + bonus, x * 2.0


@cache
def classifier(number: int) -> Classifier:
    model = Classifier(number)
    model.eval()
    return model


def script(module: torch.nn.Module) -> bytes:
    content = io.BytesIO()
    torch.jit.save(torch.jit.script(module), content)
    return content.getvalue()


def exported(module: torch.nn.Module, *examples: torch.Tensor, rows: Any = ROWS) -> bytes:
    shapes = tuple({0: rows} if rows is not None else None for _ in examples)
    return saved_program(torch.export.export(module, examples, dynamic_shapes=shapes))


def saved_program(program: Any) -> bytes:
    content = io.BytesIO()
    torch.export.save(program, content)
    return content.getvalue()


def exported_classifier(number: int = 1) -> bytes:
    return exported(classifier(number), torch.zeros(2, FEATURES))


def changed(content: bytes, changes: Mapping[str, Callable[[bytes], bytes]], added: Mapping[str, bytes] = {}) -> bytes:
    """A copy of the archive with some records changed, selected by the ends of their names, and others added."""
    target = io.BytesIO()
    used = set()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(target, "w") as archive:
        for name in source.namelist():
            record = source.read(name)
            for end in [end for end in changes if name.endswith(end)]:
                record = changes[end](record)
                used.add(end)
            archive.writestr(name, record)
        root = source.namelist()[0].partition("/")[0]
        for name, record in added.items():
            archive.writestr(f"{root}/{name}", record)
    assert used == set(changes)
    return target.getvalue()


def replaced(old: str, new: str) -> Callable[[bytes], bytes]:
    def replace(content: bytes) -> bytes:
        assert old.encode() in content
        return content.replace(old.encode(), new.encode())

    return replace


def load(
    content: bytes | Path, options: Mapping[str, str] | None = None, pickles: AllowedPickles = NO_PICKLES, **more: Any
) -> Scorer:
    """Loads a model given inline, or by its path."""
    location = str(content) if isinstance(content, Path) else None
    descriptor = ModelDescriptor("m", "pytorch", 3, model_source_location=location, options=dict(options or {}), **more)
    inline = content if isinstance(content, bytes) else None
    return load_scorer(ModelSource(descriptor, inline, LocalOpener(), pickles=pickles))
