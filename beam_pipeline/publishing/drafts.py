"""Turns a user's description of a model into a checked descriptor."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from beam_pipeline.publishing.baseline_file import make_baseline
from beam_pipeline.publishing.inspection import Inspection, inspect
from models.artifacts.archive import zip_folder
from models.artifacts.digest import digest_of_bytes, digest_of_path
from models.artifacts.pickles import NO_PICKLES, AllowedPickles
from models.errors import DescriptorError, MappingError, ModelLoadError, OptionsError, PublishError
from models.loading.loader import ModelLoader
from models.locations import resolve_location
from models.model_topic.descriptor import ModelDescriptor
from models.model_topic.golden import GoldenSamples
from models.model_topic.published import PublishedVersion
from models.records.record_type import RecordType, Row
from models.schemas import BUNDLED_RECORDS
from models.scorers import runs_in_process
from transforms.file_systems import BeamOpener


@dataclass(frozen=True)
class Draft:
    """A model to publish, as described by the user.

    Exactly one of `path` (a model on this machine) and `location` (where workers find it) is given. The descriptor of a
    location that may change, such as an alias, contains the location that it resolved to.
    """

    name: str
    model_type: str
    path: str | None = None
    location: str | None = None
    inline: bool = False
    data_type: str | None = None
    signature: str | None = None
    inputs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    description: str | None = None
    golden: GoldenSamples | None = None
    baseline: tuple[Row, ...] | None = None


def draft_descriptor(draft: Draft) -> ModelDescriptor:
    """The descriptor of a draft, with the model's bytes or location and its digest, but without a version yet.

    Raises:
      OptionsError: the path does not exist, or the model is on a server and cannot have a path.
      ModelLoadError: the location cannot be read, or the scorer of the model type cannot be imported.
    """
    content, location, digest = _source(draft)
    try:
        return ModelDescriptor(
            draft.name,
            draft.model_type,
            description=draft.description,
            model_source_location=location,
            model_bytes=content,
            data_type=draft.data_type or "",
            signature=draft.signature,
            inputs=draft.inputs,
            outputs=draft.outputs,
            digest=digest,
            options=draft.options,
            golden=draft.golden,
        )
    except DescriptorError as error:
        raise OptionsError(f"--name: {error}") from error


def differences(draft: Draft, descriptor: ModelDescriptor, location: str) -> list[str]:
    """The names of the attributes in which a published descriptor differs from a draft with this resolved location.

    Its version, its time, and the digest and the baseline, which would need the model, are not compared.
    """
    wanted = ModelDescriptor(
        draft.name,
        draft.model_type,
        descriptor.model_version,
        draft.description,
        location,
        data_type=draft.data_type or "",
        signature=draft.signature,
        inputs=draft.inputs,
        outputs=draft.outputs,
        digest=descriptor.digest,
        options=draft.options,
        published_at=descriptor.published_at,
        golden=draft.golden,
        baseline=descriptor.baseline,
    )
    names = [one.name for one in fields(ModelDescriptor)]
    return [name for name in names if getattr(wanted, name) != getattr(descriptor, name)]


def _source(draft: Draft) -> tuple[bytes | None, str | None, str | None]:
    # Only a model that scores in the worker's process has bytes to publish and to compute a digest of.
    in_process = runs_in_process(draft.model_type)
    if draft.path is None:
        location = draft.location or ""
        if not in_process:
            return None, location, None
        location = resolve_location(location)
        with tempfile.TemporaryDirectory(prefix="beam-serving-") as folder:
            return None, location, digest_of_path(BeamOpener().download(location, Path(folder)))
    if not in_process:
        raise OptionsError(f"--path: a model of type {draft.model_type} is on a server; give its --location")
    path = Path(draft.path).resolve()
    if not path.exists():
        raise OptionsError(f"--path {draft.path}: the file or folder does not exist")
    if not draft.inline:
        return None, str(path), digest_of_path(path)
    content = zip_folder(path) if path.is_dir() else path.read_bytes()
    return content, None, digest_of_bytes(content)


def check_draft(
    draft: Draft,
    descriptor: ModelDescriptor,
    record_type: RecordType | None,
    pickles: AllowedPickles = NO_PICKLES,
) -> Inspection:
    """Loads the model as a worker would, with all checks of its admission, and describes it.

    If a record type is given, or the data type is that of a bundled schema, this also checks that the record's fields
    fit the model's inputs. A pickle that is not allowed is not loaded. The records of a baseline are scored, and the
    inspection contains what is sketched of them.

    Raises:
      PublishError: the model cannot serve; the message has the reason.
    """
    data_type = descriptor.data_type
    if record_type is None and data_type in BUNDLED_RECORDS:
        record_type = RecordType.named(data_type)
    loader = ModelLoader(
        BeamOpener(),
        lambda _: descriptor.model_bytes or b"",
        [] if record_type is None else [record_type.codec],
        publishing=True,
        pickles=pickles,
    )
    version = PublishedVersion(descriptor.without_bytes(), 0, descriptor.model_bytes is not None)
    started = time.monotonic()
    try:
        model = loader.load(version)
        seconds = time.monotonic() - started
        try:
            if record_type is None:
                _check_inputs(descriptor, set(model.scorer.signature.inputs))
            codec = None if record_type is None else record_type.codec
            found = inspect(model, codec, seconds)
            if draft.baseline is None or codec is None:
                return found
            return replace(found, baseline=make_baseline(model, codec, draft.baseline))
        finally:
            model.close()
    except (ModelLoadError, OptionsError, MappingError) as error:
        raise PublishError(f"model {draft.name!r} was not published: {error}") from error


def _check_inputs(descriptor: ModelDescriptor, known: set[str]) -> None:
    for name in descriptor.inputs:
        if name not in known:
            raise OptionsError(f"--input {name}: the signature's inputs are {', '.join(sorted(known))}")
