"""Checks an exported program before PyTorch reads it.

`torch.export.load` of version 2.15 can run code from a file in these ways: it unpickles weights that are marked as
pickled, opaque constants, and example inputs that its safe reader rejects (as a second attempt); it loads libraries
that AOTInductor compiled; it passes symbolic sizes to sympy, which evaluates them as Python; it resolves operators by
any dotted name; it turns names into the source code of a function; and it imports modules that describe nested inputs.
A file that torch.export.save wrote from an ordinary model needs none of these.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from models.errors import ModelLoadError
from models.scorers.pytorch.archive_records import ArchiveRecords

PROGRAM = "models/model.json"
_KNOWN = re.compile(
    r"models/model\.json|archive_(format|version)|(\.data/)?version|byteorder|\.data/serialization_id|\.format_version"
    r"|\.storage_alignment|data/weights/(weight_\d+|model\.pt|model_weights_config\.json)"
    r"|data/constants/(tensor_\d+|model\.pt|model_constants_config\.json)|data/sample_inputs/model\.pt|extra/.*"
)
_CONFIGS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")

_SYMBOL = re.compile(r"Symbol\('\w+'(, \w+=(True|False))*\)")
_EXPRESSION = re.compile(
    r"(?:\b(?:\d{1,10}(?:\.\d{1,10})?|[suz]f?\d+|int_oo|oo|True|False|Max|Min|Eq|Ne|Lt|Le|Gt|Ge|Not|And|Or|Integer|Float"
    r"|FloorDiv|ModularIndexing|Where|PythonMod|Mod|CleanDiv|CeilToInt|FloorToInt|CeilDiv|PowByNatural|IntTrueDiv"
    r"|FloatTrueDiv|TruncToInt|RoundToInt|ToFloat|Identity)\b|[-+*/%(), <>=!&|~])*"
)
_OPERATOR = re.compile(
    r"torch\.ops\.\w+\.\w+\.\w+|torch\.ops\.higher_order\.\w+|math\.(ceil|floor|trunc)|torch\.sym_\w+"
    r"|_operator\.(add|sub|mul|truediv|floordiv|mod|pow|neg|pos|eq|ne|lt|le|gt|ge|and_|or_|not_|getitem)"
)
_NAME = re.compile(r"[\w.]*")
_TEXT = re.compile(r"[\w.:+/ -]*")
_PARAMETER = re.compile(r"[A-Za-z_]\w*")
_CONTAINERS = (None, "builtins.tuple", "builtins.list", "builtins.dict")
# Texts that PyTorch only passes on: where a node comes from, a constant argument, guards (which are not compiled).
_PASSED_ON = ("metadata", "as_string", "as_strings", "guards_code")


def check_records(records: ArchiveRecords, allow_code: Callable[[str], None]) -> None:
    """Checks everything in an exported program that PyTorch could treat as code.

    Raises:
      PickleRefusedError: from `allow_code`, when the file contains pickles or native code.
      ModelLoadError: the file has no program, or something other than a name or a size where one is expected.
    """
    strange = sorted(name for name in records.names if not _KNOWN.fullmatch(name))
    if strange:
        allow_code(f"an exported program with {strange[0]!r}, and loading that can run code")
    for name in sorted(records.names):
        if name.endswith(".pt") and not records.holds_only_tensors(name):
            allow_code(f"an exported program whose {name} is more than tensors, and loading that runs code")
    for name in _CONFIGS:
        if name in records.names:
            _check_payload(records, name, allow_code)
    if PROGRAM not in records.names:
        raise ModelLoadError(f"it has no record {PROGRAM}; save the model with torch.export.save")
    for key, text in _texts(_json(records, PROGRAM), ""):
        _check_text(key, text)


def _check_payload(records: ArchiveRecords, name: str, allow_code: Callable[[str], None]) -> None:
    """Checks that weights or constants are plain numbers, or readable by PyTorch's safe reader."""
    folder = name.rpartition("/")[0]
    config = _json(records, name).get("config")
    for entry in config.values() if isinstance(config, dict) else ():
        record = f"{folder}/{entry.get('path_name')}" if isinstance(entry, dict) else ""
        if record not in records.names:
            raise ModelLoadError(f"{name} names the record {record!r}, which is missing")
        if entry.get("use_pickle") and not records.holds_only_tensors(record):
            allow_code(f"an exported program whose {record} is a pickle, and loading that runs code")


def _json(records: ArchiveRecords, name: str) -> dict[str, Any]:
    try:
        content = json.loads(records.read(name))
    except (ValueError, RecursionError) as error:
        raise ModelLoadError(f"{name} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ModelLoadError(f"{name} is not a JSON object")
    return content


def _texts(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """All texts with the key that they belong to, keys included, except those that PyTorch only passes on."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one, key)
    elif isinstance(value, dict):
        for name, one in value.items():
            yield "", name
            if name not in _PASSED_ON:
                yield from _texts(one, name)


def _check_text(key: str, text: str) -> None:
    if key in ("in_spec", "out_spec"):
        _check_containers(text, as_parameters=key == "in_spec")
        return
    if key == "expr_str":
        fits = _EXPRESSION.fullmatch(_SYMBOL.sub("s0", text))
    elif key == "target":
        fits = _OPERATOR.fullmatch(text)
    elif key in ("name", "as_name", "forward_arg_names"):
        fits = _PARAMETER.fullmatch(text) or (None if text else _TEXT.fullmatch(text))
    else:
        fits = _NAME.fullmatch(text) or _TEXT.fullmatch(text)
    if fits is None or not text.isascii():
        raise ModelLoadError(f"{PROGRAM} has {text[:100]!r} as {key or 'a key'}, which is refused: it could be code")


def _check_containers(text: str, *, as_parameters: bool) -> None:
    try:
        pending = [json.loads(text)[1]]
        while pending:
            one = pending.pop()
            names = json.loads(one["context"] or "null") or []
            if one["type"] not in _CONTAINERS:
                raise ModelLoadError(f"it takes or returns a {one['type']}; return a tensor, a tuple or a dict of them")
            if not all(isinstance(name, str) and (_PARAMETER.fullmatch(name) or not as_parameters) for name in names):
                raise ModelLoadError(f"{PROGRAM} has {str(names)[:100]} as names of inputs or outputs")
            pending.extend(one["children_spec"])
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise ModelLoadError(f"{PROGRAM} does not describe its inputs and outputs: {error}") from error
