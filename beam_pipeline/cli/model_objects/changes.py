"""The changes of models that people should notice: events of Kubernetes, from the status before and after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from beam_pipeline.cli.model_objects.model_object import ModelObject

_SERVING = "serving"
# The states in the models topic, which a version has without a report of a running worker.
_UNREPORTED = ("live", "previous", "stored")


@dataclass(frozen=True)
class ModelChange:
    """An event about a ModelVersion object.

    Attributes:
      name: the name of the object.
      kind: how Kubernetes classifies it.
      reason: Serving (it answers records now), Answering (others than before), Released (it no longer serves) or
        Refused (a worker cannot load it).
      message: a sentence for people.
    """

    name: str
    kind: Literal["Normal", "Warning"]
    reason: Literal["Serving", "Answering", "Released", "Refused"]
    message: str


def with_last_errors(before: Mapping[str, Mapping[str, Any]], after: Sequence[ModelObject]) -> list[ModelObject]:
    """The objects, with the last error of those that are being loaded again: only one that serves has overcome it.

    Arguments are those of `changes_between`, for which an error that comes again would be news.
    """
    return [_with_last_error(before.get(one.name, {}), one) for one in after]


def _with_last_error(before: Mapping[str, Any], one: ModelObject) -> ModelObject:
    if one.status["state"] != "loading" or "lastError" not in before:
        return one
    return replace(one, status={**one.status, "lastError": before["lastError"]})


def changes_between(before: Mapping[str, Mapping[str, Any]], after: Sequence[ModelObject]) -> Iterator[ModelChange]:
    """The changes since the status of the objects was written last.

    Args:
      before: the status of each existing object, by its name.
      after: the objects as they should be now.
    """
    for one in after:
        old, new = before.get(one.name, {}), one.status
        label = f"{one.spec['model']}/{one.spec['version']}"
        if _serves(new) and not _serves(old):
            yield ModelChange(one.name, "Normal", "Serving", f"{label} serves{_of(new)}{_instead(before, after, one)}")
        elif _serves(new) and new.get("answers") and new["answers"] != old.get("answers"):
            yield ModelChange(one.name, "Normal", "Answering", f"{label} answers {new['answers']}")
        elif _serves(old) and not _serves(new):
            yield ModelChange(one.name, "Normal", "Released", f"{label} no longer serves{_since(new['state'])}")
        error = new.get("lastError")
        if error and error != old.get("lastError"):
            yield ModelChange(one.name, "Warning", "Refused", f"{label} cannot be loaded: {error}")


def _since(state: str) -> str:
    return "; no worker reports about it" if state in _UNREPORTED else f"; it is {state}"


def _serves(status: Mapping[str, Any]) -> bool:
    return status.get("state") == _SERVING


def _of(status: Mapping[str, Any]) -> str:
    return f": {status['answers']}" if status.get("answers") else ""


def _instead(before: Mapping[str, Mapping[str, Any]], after: Sequence[ModelObject], one: ModelObject) -> str:
    """The versions for the same records that served before, or answered them, and do not any more."""
    others = [
        f"{other.spec['model']}/{other.spec['version']}"
        for other in after
        if other.name != one.name
        and other.spec["dataType"] == one.spec["dataType"]
        and _answers(before.get(other.name, {}))
        and not _answers(other.status)
    ]
    return f", in place of {', '.join(others)}" if others else ""


def _answers(status: Mapping[str, Any]) -> bool:
    return _serves(status) and bool(status.get("answers"))
