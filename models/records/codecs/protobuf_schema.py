"""The schemas of the format `protobuf`: message types of descriptor sets.

`--record-schema FILE#PACKAGE.MESSAGE` names a serialized FileDescriptorSet, as `protoc --include_imports
--descriptor_set_out=FILE` and `buf build -o FILE` write it, and the full name of a message in it. The name may be
omitted if the last file of the set declares only one message. The record type's name is the message's full name.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.message import DecodeError

from models.errors import SchemaError
from models.records.record_type import RecordFormat, RecordType
from models.text import error_text


def read(name: str, record_format: RecordFormat, options: Mapping[str, str]) -> RecordType:
    """Reads the record type of a message in a descriptor set.

    Raises:
      SchemaError: the file cannot be read or does not contain the message, or the message cannot be represented as
        columns.
    """
    from models.records.codecs.protobuf_columns import message_columns

    path, _, message = name.partition("#")
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise SchemaError(
            f"record schema {name!r} is not a readable file: name a descriptor set and a message, as "
            f"FILE#PACKAGE.MESSAGE: {error_text(error)}"
        ) from error
    files = _files(name, content)
    message = message or _only_message(name, files)
    message_columns(find_message(name, files, message))
    text = json.dumps({"message": message, "files": base64.b64encode(content).decode()})
    return RecordType(message, text, record_format, options)


def declared_message(kind: RecordType) -> Any:
    """The descriptor of a record type's message; raises SchemaError as `read` does."""
    declared = kind.declared
    return find_message(kind.name, _files(kind.name, base64.b64decode(declared["files"])), declared["message"])


def find_message(name: str, files: Any, message: str) -> Any:
    """The descriptor of a message in a set, from a separate descriptor pool.

    Raises:
      SchemaError: the set is incomplete, or does not declare the message.
    """
    pool = descriptor_pool.DescriptorPool()
    try:
        for file in files.file:
            pool.Add(file)
    except TypeError as error:
        raise SchemaError(
            f"record schema {name!r} is not a complete descriptor set; make it with protoc --include_imports: "
            f"{error_text(error, 300)}"
        ) from error
    try:
        return pool.FindMessageTypeByName(message)
    except KeyError as error:
        known = ", ".join(_top_level(files.file[-1])) if files.file else "none"
        raise SchemaError(
            f"record schema {name!r}: there is no message {message!r}; the last file declares: {known}"
        ) from error


def _files(name: str, content: bytes) -> Any:
    try:
        return descriptor_pb2.FileDescriptorSet.FromString(content)
    except DecodeError as error:
        raise SchemaError(
            f"record schema {name!r} is not a descriptor set; make one with protoc --include_imports "
            "--descriptor_set_out=FILE"
        ) from error


def _only_message(name: str, files: Any) -> str:
    known = _top_level(files.file[-1]) if files.file else []
    if len(known) != 1:
        raise SchemaError(
            f"record schema {name!r} does not name a message; write FILE#NAME with one of: {', '.join(known) or 'none'}"
        )
    return known[0]


def _top_level(file: Any) -> list[str]:
    return [f"{file.package}.{one.name}" if file.package else one.name for one in file.message_type]
