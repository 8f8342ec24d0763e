"""What a codec remembers of the registered schemas that its messages name."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from models.errors import SchemaError
from models.records.registry import SchemaKey, describe_key

Use = TypeVar("Use")

_MOST_SCHEMAS = 1_000
# A schema may be registered, or reach this registry, after its first message. An unknown id is looked up again after
# this time.
_UNKNOWN_SECONDS = 30.0


@dataclass(frozen=True)
class RefusedSchema:
    """The reason why messages of a schema cannot be read, and the time at which the registry is asked again."""

    reason: str
    until: float


class RegisteredSchemas(Generic[Use]):
    """Looks schemas up on first use. Thread-safe; holds no lock while it asks the registry.

    Args:
      look_up: returns what the codec needs of a schema; raises SchemaError if messages of that schema cannot be read.
      clock: returns a number of seconds that never decreases.
    """

    def __init__(self, look_up: Callable[[SchemaKey], Use], clock: Callable[[], float] = time.monotonic) -> None:
        self._look_up = look_up
        self._clock = clock
        self._lock = threading.Lock()
        self._known: OrderedDict[SchemaKey, Use | RefusedSchema] = OrderedDict()

    def of(self, key: SchemaKey) -> Use | RefusedSchema:
        """What the codec needs of a schema, or the reason why its messages cannot be read.

        Raises:
          RegistryUnreachableError: the schema is not known yet, and the registry does not answer.
        """
        with self._lock:
            if key in self._known:
                known = self._known[key]
                if not isinstance(known, RefusedSchema) or self._clock() < known.until:
                    self._known.move_to_end(key)
                    return known
        found = self._ask(key)
        with self._lock:
            self._known[key] = found
            self._known.move_to_end(key)
            while len(self._known) > _MOST_SCHEMAS:
                self._known.popitem(last=False)
        return found

    def _ask(self, key: SchemaKey) -> Use | RefusedSchema:
        try:
            return self._look_up(key)
        except SchemaError as error:
            reason = str(error) if describe_key(key) in str(error) else f"schema {describe_key(key)}: {error}"
            return RefusedSchema(reason, self._clock() + _UNKNOWN_SECONDS)
