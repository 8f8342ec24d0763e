"""Descriptors and pointers: the two kinds of message in the models topic, which is the persisted state.

A *version* is a message keyed NAME/VERSION that contains a `ModelDescriptor`; it stays until an empty message deletes
it. A *pointer* is a message keyed NAME that contains a `ModelPointer`: the live version and the previous one. A
descriptor keyed by its bare name, as in the reference system, acts as both version and pointer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from models.encoding.single_object import bundled_codec
from models.encoding.timestamps import milliseconds_of
from models.errors import DescriptorError
from models.model_topic.golden import GoldenSample, GoldenSamples
from models.model_topic.names import check_model_name


@dataclass(frozen=True)
class ModelDescriptor:
    """One version of a model.

    Attributes:
      model_name: 1 to 249 characters without "/" and control characters.
      model_type: selects the scorer (`models.scorers.SCORER_MODULES`).
      model_version: 1 or higher; a higher number is newer. 0 is allowed only in a message keyed by the bare name,
        where `numbered` replaces it by the message's offset plus 1.
      description: free text for people.
      model_source_location: the location of the model or of its server.
      model_bytes: the model itself, when it is published inline. A message has either a location or bytes. A
        descriptor in memory may have neither, because its bytes were left in the topic (`without_bytes`).
      data_type: the data type of the records that it scores; `model_name` if it is not given.
      signature: the signature to call; None means serving_default or, if that does not exist, the only signature.
      inputs: maps each model input to the record fields that fill it, in order.
      outputs: maps each output of the result to the model output that it contains; empty means all model outputs
        under their own names.
      digest: SHA-256 of the published model as 64 hexadecimal digits; None for a model in another process.
      options: options of the scorer; each scorer's module documents its own.
      published_at: milliseconds since 1970-01-01 UTC.
      golden: records and the outputs that the model must give for them before it may serve; None without any.
      baseline: what its records and outputs usually look like, as `models.observing.drift.profile` writes it; None
        without it.
    """

    model_name: str
    model_type: str
    model_version: int = 0
    description: str | None = None
    model_source_location: str | None = None
    model_bytes: bytes | None = field(default=None, repr=False)
    data_type: str = ""
    signature: str | None = None
    inputs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    digest: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    published_at: int = 0
    golden: GoldenSamples | None = None
    baseline: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_model_name(self.model_name)
        if not self.model_type:
            raise DescriptorError(f"model {self.model_name!r}: modelType is empty")
        if self.model_version < 0:
            raise DescriptorError(f"model {self.model_name!r}: modelVersion {self.model_version} is below 0")
        if self.model_bytes is not None and self.model_source_location is not None:
            raise DescriptorError(f"model {self.model_name!r}: modelBytes and modelSourceLocation are both given")
        if not self.data_type:
            object.__setattr__(self, "data_type", self.model_name)

    def numbered(self, offset: int) -> ModelDescriptor:
        """The descriptor with a version: its own, or one derived from `offset` if it has none."""
        return self if self.model_version else replace(self, model_version=offset + 1)

    def without_bytes(self) -> ModelDescriptor:
        """The descriptor without the model, as it is kept in memory."""
        return replace(self, model_bytes=None)


@dataclass(frozen=True)
class ModelPointer:
    """The live version of a model.

    Attributes:
      live_version: the version that scores records; None when the model is retired.
      previous_version: the version that was live before; workers that cannot load the live version serve this one.
      last_version: the highest number ever assigned to a version of this model.
      updated_at: milliseconds since 1970-01-01 UTC.
    """

    model_name: str
    live_version: int | None
    previous_version: int | None = None
    last_version: int = 0
    updated_at: int = 0

    def __post_init__(self) -> None:
        check_model_name(self.model_name)


def version_key(name: str, version: int) -> bytes:
    """The key of the message that contains a version.

    >>> version_key("wine", 2)
    b'wine/2'
    """
    return f"{name}/{version}".encode()


def pointer_key(name: str) -> bytes:
    """The key of the message that contains a model's pointer."""
    return name.encode()


def parse_key(key: bytes | None) -> tuple[str, int | None]:
    """Splits a message key into the model's name and, for a version, its number.

    Raises:
      DescriptorError: the key is missing, or is not NAME or NAME/VERSION.

    >>> parse_key(b"wine/2"), parse_key(b"wine")
    (('wine', 2), ('wine', None))
    """
    if not key:
        raise DescriptorError("the message has no key; it must be NAME or NAME/VERSION")
    try:
        text = key.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DescriptorError(f"the message key {key!r} is not UTF-8") from error
    name, slash, version = text.partition("/")
    check_model_name(name)
    if not slash:
        return name, None
    if (
        not (version.isascii() and version.isdigit() and len(version) < 19)
        or str(int(version)) != version
        or version == "0"
    ):
        raise DescriptorError(f"the message key {text!r} is not NAME or NAME/VERSION with a version of 1 or higher")
    return name, int(version)


def encode_descriptor(descriptor: ModelDescriptor) -> bytes:
    """The descriptor as a message of the models topic."""
    value = {
        "modelName": descriptor.model_name,
        "description": descriptor.description,
        "modelType": descriptor.model_type,
        "modelBytes": descriptor.model_bytes,
        "modelSourceLocation": descriptor.model_source_location,
        "modelVersion": descriptor.model_version,
        "dataType": None if descriptor.data_type == descriptor.model_name else descriptor.data_type,
        "signature": descriptor.signature,
        "inputs": {name: list(fields) for name, fields in descriptor.inputs.items()},
        "outputs": dict(descriptor.outputs),
        "digest": descriptor.digest,
        "options": dict(descriptor.options),
        "publishedAt": descriptor.published_at,
        "golden": None if descriptor.golden is None else _encode_golden(descriptor.golden),
        "baseline": descriptor.baseline,
    }
    return bundled_codec("model_descriptor").encode(value)


def encode_pointer(pointer: ModelPointer) -> bytes:
    """The pointer as a message of the models topic."""
    value = {
        "modelName": pointer.model_name,
        "liveVersion": pointer.live_version,
        "previousVersion": pointer.previous_version,
        "lastVersion": pointer.last_version,
        "updatedAt": pointer.updated_at,
    }
    return bundled_codec("model_pointer").encode(value)


def decode_message(value: bytes) -> ModelDescriptor | ModelPointer:
    """Decodes the value of a message of the models topic.

    Raises:
      DescriptorError: the message is neither a descriptor nor a pointer, is corrupt, or contradicts itself.
    """
    try:
        if bundled_codec("model_pointer").matches(value):
            return _pointer(bundled_codec("model_pointer").decode(value))
        return _descriptor(bundled_codec("model_descriptor").decode(value))
    except (ValueError, OverflowError) as error:
        raise DescriptorError(f"the message is neither a model descriptor nor a model pointer: {error}") from error


def _descriptor(value: dict[str, Any]) -> ModelDescriptor:
    if value["modelBytes"] is None and value["modelSourceLocation"] is None:
        raise DescriptorError(f"model {value['modelName']!r}: neither modelBytes nor modelSourceLocation is given")
    return ModelDescriptor(
        model_name=value["modelName"],
        model_type=value["modelType"],
        model_version=value["modelVersion"],
        description=value["description"],
        model_source_location=value["modelSourceLocation"],
        model_bytes=value["modelBytes"],
        data_type=value["dataType"] or "",
        signature=value["signature"],
        inputs={name: tuple(fields) for name, fields in value["inputs"].items()},
        outputs=value["outputs"],
        digest=value["digest"],
        options=value["options"],
        published_at=milliseconds_of(value["publishedAt"]),
        golden=None if value["golden"] is None else _decode_golden(value["golden"]),
        baseline=value["baseline"],
    )


def _encode_golden(golden: GoldenSamples) -> dict[str, Any]:
    return {
        "absoluteTolerance": golden.absolute_tolerance,
        "relativeTolerance": golden.relative_tolerance,
        "samples": [{"record": sample.record, "outputs": sample.outputs} for sample in golden.samples],
    }


def _decode_golden(value: dict[str, Any]) -> GoldenSamples:
    samples = tuple(GoldenSample(**sample) for sample in value["samples"])
    return GoldenSamples(samples, value["absoluteTolerance"], value["relativeTolerance"])


def _pointer(value: dict[str, Any]) -> ModelPointer:
    return ModelPointer(
        model_name=value["modelName"],
        live_version=value["liveVersion"],
        previous_version=value["previousVersion"],
        last_version=value["lastVersion"],
        updated_at=milliseconds_of(value["updatedAt"]),
    )
