"""PyTorch files that are rejected: those that would attack the worker, and those that cannot score batches."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.artifacts.digest import digest_of_bytes
from models.artifacts.pickles import AllowedPickles
from models.errors import ModelLoadError, PickleRefusedError, ScorerOptionError, ScoringError
from tests.heavy.pytorch import programs
from tests.heavy.pytorch.programs import ROWS, changed, exported, load, replaced, script
from tests.models.scorers.learned import FEATURES, rows_of

PROGRAM = "models/model.json"
WEIGHTS = "model_weights_config.json"


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


class Scaled(torch.nn.Module):
    def forward(self, x: torch.Tensor, factor: int = 3) -> torch.Tensor:
        return x * factor


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """A file that hostile models create; it must not exist at the end."""
    return tmp_path / "trace"


def saved(value: Any) -> bytes:
    content = io.BytesIO()
    torch.save(value, content)
    return content.getvalue()


def as_pickle(config: bytes) -> bytes:
    content = json.loads(config)
    for entry in content["config"].values():
        entry["use_pickle"] = True
    return json.dumps(content).encode()


def hostile_programs(trace: Path) -> dict[str, bytes]:
    """Exported programs that create `trace` when PyTorch loads them, or would if loading got that far."""
    trap = saved((Trap(trace),))
    base = programs.exported_classifier()
    code = f"__import__('pathlib').Path({str(trace)!r}).touch()"
    return {
        "inputs": changed(base, {"sample_inputs/model.pt": lambda _: trap}),
        "weights": changed(base, {"weight_0": lambda _: trap, WEIGHTS: as_pickle}),
        "legacy": changed(base, {}, {"data/weights/model.pt": trap}),
        "constants": changed(
            base,
            {"model_constants_config.json": lambda _: _opaque()},
            {"data/constants/opaque_obj_0": pickle.dumps(Trap(trace))},
        ),
        "library": changed(base, {}, {"data/aotinductor/model/model.so": b"\x7fELF"}),
        "size": changed(base, {PROGRAM: replaced("Symbol('s", f"{code} or Symbol('s")}),
        "operator": changed(base, {PROGRAM: replaced("torch.ops.aten.relu.default", "torch.os.system")}),
        "name": changed(base, {PROGRAM: replaced('{"name": "x"}', json.dumps({"name": f"x={code}"}))}),
        "spec": changed(base, {PROGRAM: replaced("builtins.dict", "collections.defaultdict")}),
    }


def _opaque() -> bytes:
    entry = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None}
    return json.dumps({"config": {"c": entry}}).encode()


HOSTILE = ("inputs", "weights", "legacy", "constants", "library", "size", "operator", "name", "spec")


@pytest.mark.parametrize("kind", HOSTILE)
def test_an_exported_program_that_would_run_code_is_refused(kind: str, trace: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"^model 'm' version 3: ") as raised:
        load(hostile_programs(trace)[kind])
    assert isinstance(raised.value, PickleRefusedError) == (kind in HOSTILE[:5])
    assert not trace.exists()


def test_the_traps_work(trace: Path) -> None:
    """Without the checks, PyTorch really runs the contents; otherwise the test above would prove nothing."""
    for kind in ("inputs", "weights", "constants", "size"):
        try:
            torch.export.load(io.BytesIO(hostile_programs(trace)[kind]))
        except Exception as error:
            print(kind, error)
        assert trace.exists(), kind
        trace.unlink()


def test_a_program_with_a_pickle_is_loaded_if_its_digest_is_allowed(trace: Path) -> None:
    content = hostile_programs(trace)["inputs"]
    with pytest.raises(PickleRefusedError, match=f"--allow-pickle sha256:{digest_of_bytes(content)}"):
        load(content)
    load(content, pickles=AllowedPickles(digests=frozenset({digest_of_bytes(content)})))
    assert trace.exists()


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("int=3", "int=torch.size(torch.from_file({0!r}, True, 4))[0]", "computes values while it is loaded"),
        ("int=3", "int=torch.size(torch.zeros([4]))[0]", "computes values while it is loaded"),
        ("return ", "torch.save(x, {0!r})\n    return ", "torch.save, which reads or writes files"),
        ("return ", "y = ops.aten.from_file({0!r}, True, 4)\n    return ", "reads or writes files"),
        ("return ", 'y = getattr(torch, "from_file")({0!r}, True, 4)\n    return ', "getattr"),
        ("return ", "y = ops.profiler._record_function_enter({0!r})\n    return ", "is not one of PyTorch's own"),
        ("return ", "c = __torch__.torch.classes.dist_c10d.FileStore({0!r}, 1)\n    return ", "is a class of C"),
        ("  def ", "  def __setstate__(self, s: int) -> NoneType:\n    return None\n  def ", "__setstate__"),
        ("return ", "return \xe4", "not TorchScript code"),
    ],
)
def test_a_script_that_would_act_on_the_worker_is_refused(old: str, new: str, reason: str, trace: Path) -> None:
    content = changed(script(Scaled()), {".py": replaced(old, new.replace("{0!r}", json.dumps(str(trace))))})
    with pytest.raises(ModelLoadError, match=reason):
        load(content, {"input.x": "float32:4"})
    assert not trace.exists()


def test_a_pickle_in_place_of_the_parameters_of_a_script_runs_nothing(trace: Path) -> None:
    content = changed(script(Scaled()), {"/data.pkl": lambda _: pickle.dumps(Trap(trace), protocol=2)})
    with pytest.raises(ModelLoadError, match="PyTorch cannot load it as TorchScript"):
        load(content, {"input.x": "float32:4"})
    assert not trace.exists()


class Counting(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return x * self.calls


class Total(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum(0)


class Small(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.to(torch.bfloat16)


EXAMPLE = torch.zeros(2, 4)
OPTION = {"input.x": "float32:4"}


@pytest.mark.parametrize(
    ("content", "options", "reason"),
    [
        (lambda: exported(Scaled(), EXAMPLE, rows=None), {}, r"'x' takes 2 rows and no other number; export it with"),
        (lambda: exported(Scaled(), EXAMPLE, rows=torch.export.Dim("r", max=64)), {}, r"'x' takes 0 to 64 rows"),
        (lambda: exported(programs.Classifier(1), torch.zeros(2, FEATURES)), {}, r"call model\.eval\(\)"),
        (lambda: exported(Total(), EXAMPLE), {}, "'output' has shape .4., without a row for each row"),
        (lambda: exported(Small(), EXAMPLE), {}, "'output' is torch.bfloat16"),
        (lambda: exported(Scaled(), EXAMPLE), OPTION, r"leave the options input\.NAME out"),
        (lambda: script(Total()), OPTION, r"'output' has shape \[4\] for 2 rows"),
        (lambda: script(Small()), OPTION, "'output' is torch.bfloat16; convert it"),
        (lambda: script(Counting()), OPTION, "changes the state of the model"),
        (
            lambda: script(programs.classifier(1)),
            OPTION,
            r"cannot score 2 rows of zeros: .*shapes cannot be multiplied",
        ),
        (lambda: saved({"weight": EXAMPLE}), {}, "it was written by torch.save"),
    ],
)
def test_what_cannot_score_batches_is_refused_with_the_remedy(
    content: Callable[[], bytes], options: dict[str, str], reason: str
) -> None:
    with pytest.raises(ModelLoadError, match=reason):
        load(content(), options)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, r"does not state the type and shape of input 'x'; give them, as in --option input\.x=float32:11"),
        ({"input.x": "float33:4"}, "'float33:4' is not a type and sizes"),
        ({"input.x": "float32:4x"}, "'float32:4x' is not a type and sizes"),
        ({**OPTION, "input.y": "float32"}, r"input\.y: the model has no such input; it has: factor, x"),
    ],
)
def test_options_that_do_not_describe_the_inputs_of_a_script_are_refused(options: dict[str, str], reason: str) -> None:
    with pytest.raises(ScorerOptionError, match=reason):
        load(script(Scaled()), options)


def test_another_type_of_numbers_than_that_of_the_signature_is_an_error() -> None:
    for scorer in (load(programs.exported_classifier()), load(script(programs.classifier(1)), programs.INPUT)):
        with pytest.raises(ScoringError, match="input 'x' is float64, but float32 is expected"):
            scorer.score({"x": rows_of(2).astype(np.float64)})


def test_a_bomb_is_refused() -> None:
    bomb = io.BytesIO(programs.exported_classifier())
    with zipfile.ZipFile(bomb, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("archive/extra/bomb", "w") as entry:
        for _ in range(1_100):
            entry.write(bytes(2**20))
    with pytest.raises(ModelLoadError, match="bytes, more than the"):
        load(bomb.getvalue())


def test_records_that_only_python_sees_are_refused() -> None:
    hidden = changed(exported(Scaled(), EXAMPLE, rows=ROWS), {})
    content = io.BytesIO(hidden)
    with zipfile.ZipFile(content, "a") as archive:
        archive.writestr("version", b"8.1")
        archive.writestr("serialized_state_dict.pt", b"")
    with pytest.raises(ModelLoadError, match="not in a subdirectory"):
        load(content.getvalue())
