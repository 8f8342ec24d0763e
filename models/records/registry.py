"""A Confluent-compatible schema registry: schemas by id, GUID and subject.

A schema that does not exist (`UnknownSchemaError`) is a different failure from a registry that does not answer. If the
two were confused, an outage would turn every record into a dead letter. A registry that is unreachable, overloaded or
refuses the credentials is therefore asked again, with pauses and one line in the log, for `PATIENCE_SECONDS`. Then
`RegistryUnreachableError` fails the bundle, and the runner retries it. No record is lost in the meantime.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar
from urllib.parse import urlsplit

from models.errors import OptionsError, RegistryUnreachableError, SchemaError, UnknownSchemaError
from models.extras import extras_named
from models.records.registry_references import inline_references
from models.secret_references import SECRETS, check_references
from models.text import error_text

_LOGGER = logging.getLogger(__name__)

# What registries call the types of schemas.
AVRO, JSON = "AVRO", "JSON"
_TYPES = {AVRO: "an Avro schema", JSON: "a JSON Schema"}

SchemaKey = int | uuid.UUID
Answer = TypeVar("Answer")

PATIENCE_SECONDS = 120.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 8.0
# This module pauses and retries, so an attempt of the client is a single request with a time limit.
_CLIENT_DEFAULTS: Mapping[str, object] = {"timeout": 10, "max.retries": 0}
_NUMBERS = (
    "timeout",
    "cache.capacity",
    "cache.latest.ttl.sec",
    "max.retries",
    "retries.wait.ms",
    "retries.max.wait.ms",
)
_LARGEST_ID = (1 << 31) - 1
# Worth another attempt: not allowed (yet), time-outs, too many requests. So are all failures of the server.
_TRANSIENT = (401, 403, 407, 408, 425, 429)
# The codes with which a healthy registry answers with status 404: unknown version, subject or schema.
_NOT_FOUND = (40401, 40402, 40403)
_OPTION_URL = "registry.url"
_OPTION_CONFIG = "registry.config."


@dataclass(frozen=True)
class RegistrySettings:
    """How to reach a registry.

    Attributes:
      url: its address, or several with commas between them.
      config: further settings of confluent-kafka's SchemaRegistryClient, sorted; secrets may be references.
    """

    url: str
    config: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @classmethod
    def from_options(cls, options: Mapping[str, str]) -> RegistrySettings:
        """The settings among the options of a record type.

        Raises:
          OptionsError: there is no URL, or a setting is malformed.
        """
        if not options.get(_OPTION_URL):
            raise OptionsError("missing: --schema-registry (the record format needs one)")
        named = {
            name[len(_OPTION_CONFIG) :]: value for name, value in options.items() if name.startswith(_OPTION_CONFIG)
        }
        settings = cls(options[_OPTION_URL], tuple(sorted(named.items())))
        settings.check()
        return settings

    def check(self) -> None:
        """Checks the settings without asking the registry; raises OptionsError."""
        for url in self.url.split(","):
            if urlsplit(url.strip()).scheme not in ("http", "https"):
                raise OptionsError(f"--schema-registry {self.url!r} is not an http or https address")
        if "url" in dict(self.config):
            raise OptionsError("--schema-registry-config url cannot be set: --schema-registry names the address")
        check_references(dict(self.config), option="schema-registry-config")
        _with_numbers(dict(self.config))


def registry_options(url: str | None, config: Mapping[str, str]) -> dict[str, str]:
    """The options of a record type that describe a registry; `RegistrySettings.from_options` reads them.

    Example:
      >>> registry_options("http://registry:8081", {"timeout": "5"})
      {'registry.url': 'http://registry:8081', 'registry.config.timeout': '5'}
      >>> registry_options(None, {})
      {}
    """
    named = {f"{_OPTION_CONFIG}{name}": value for name, value in config.items()}
    return named if url is None else {_OPTION_URL: url, **named}


def _with_numbers(config: Mapping[str, object]) -> dict[str, object]:
    """The settings, with numbers where the client requires them."""
    read = dict(config)
    for name in _NUMBERS:
        if name in read:
            try:
                read[name] = float(str(read[name]))
            except ValueError as error:
                raise OptionsError(f"--schema-registry-config {name} {read[name]!r} is not a number") from error
    return read


@cache
def registry_at(settings: RegistrySettings) -> SchemaRegistry:
    """The client of a registry that this process shares."""
    return SchemaRegistry(settings)


class SchemaRegistry:
    """A client of a registry. Thread-safe; holds no lock during a request; connects at first use.

    Args:
      settings: how to reach the registry.
      patience: seconds for which a registry that does not answer is asked again; None for `PATIENCE_SECONDS`.
      pause: waits for a number of seconds.
      clock: returns a number of seconds that never decreases.
    """

    def __init__(
        self,
        settings: RegistrySettings,
        patience: float | None = None,
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._patience = PATIENCE_SECONDS if patience is None else patience
        self._pause = pause
        self._clock = clock
        self._lock = threading.Lock()
        self._client: Any = None
        self._latest: dict[str, str] = {}

    def schema(self, key: SchemaKey, patient: bool = True) -> Any:
        """The Avro schema of an id or a GUID, with its references inlined.

        Raises:
          UnknownSchemaError: when the registry has no such schema.
          SchemaError: when it is not an Avro schema.
          RegistryUnreachableError: when the registry does not answer.
        """
        return self._complete(self._found(key, patient), _named(key), patient)

    def check_type(self, key: SchemaKey, schema_type: str, patient: bool = True) -> None:
        """Checks that a schema exists, and is of a type.

        Args:
          key: the id or the GUID of the schema.
          schema_type: what the registry calls the type: AVRO, JSON or PROTOBUF.
          patient: wait for a registry that does not answer; otherwise fail at once.

        Raises:
          UnknownSchemaError: when the registry has no such schema.
          SchemaError: when it is of another type.
          RegistryUnreachableError: when the registry does not answer.
        """
        _check_type(self._found(key, patient), schema_type, _named(key))

    def latest(self, subject: str) -> str:
        """The text of a subject's latest schema, as of this process's first request, with its references inlined.

        Raises:
          UnknownSchemaError, SchemaError, RegistryUnreachableError: as `schema`; it does not wait.
        """
        if subject not in self._latest:
            what = f"subject {subject!r}"
            found = self._ask(what, lambda client: client.get_latest_version(subject).schema, patient=False)
            self._latest.setdefault(subject, json.dumps(self._complete(found, what, patient=False)))
        return self._latest[subject]

    def register(self, subject: str, schema: Mapping[str, Any], patient: bool = True, schema_type: str = AVRO) -> int:
        """The id of a schema under a subject; the schema is registered if the subject does not have it yet.

        Raises:
          SchemaError: when the registry refuses it, for example as incompatible with the subject's schemas.
          RegistryUnreachableError: when the registry does not answer.
        """
        self._connected()
        from confluent_kafka.schema_registry import Schema

        wanted = Schema(json.dumps(schema), schema_type)
        what = f"subject {subject!r}"
        try:
            return int(self._ask(what, lambda client: client.lookup_schema(subject, wanted).schema_id, patient))
        except UnknownSchemaError:
            return int(self._ask(what, lambda client: client.register_schema(subject, wanted), patient))

    def _found(self, key: SchemaKey, patient: bool) -> Any:
        what = _named(key)
        if (
            isinstance(key, int) and key > _LARGEST_ID
        ):  # registries never assign such an id, and some fail when asked for it
            raise UnknownSchemaError(f"{what} is unknown to the registry")
        return self._ask(what, lambda client: self._fetch(client, key), patient)

    def _fetch(self, client: Any, key: SchemaKey) -> Any:
        return client.get_schema(key) if isinstance(key, int) else client.get_schema_by_guid(str(key))

    def _complete(self, found: Any, what: str, patient: bool) -> Any:
        """A registered schema parsed as JSON, with the schemas that it refers to."""
        _check_type(found, AVRO, what)

        def referred(subject: str, version: int) -> Any:
            ask = f"version {version} of subject {subject!r}"
            return self._ask(ask, lambda client: client.get_version(subject, version).schema, patient)

        try:
            return inline_references(found, referred)
        except SchemaError as error:
            raise SchemaError(f"{what} cannot be used: {error}") from error

    def _ask(self, what: str, request: Callable[[Any], Answer], patient: bool) -> Answer:
        """Repeats a request until there is an answer, or patience ends."""
        deadline = self._clock() + (self._patience if patient else 0.0)
        wait, failed = _FIRST_PAUSE, False
        client = self._connected()
        while True:
            try:
                answer = request(client)
            except Exception as error:
                reason = _why_unreachable(error, what, self._settings.url)
                if self._clock() + wait > deadline:
                    raise RegistryUnreachableError(reason) from error
                if not failed:
                    _LOGGER.warning("%s; records wait for up to %g s", reason, self._patience)
                failed = True
            else:
                if failed:
                    _LOGGER.warning("the schema registry at %s answers again", self._settings.url)
                return answer
            self._pause(wait)
            wait = min(2 * wait, _LONGEST_PAUSE)

    def _connected(self) -> Any:
        if self._client is None:
            with extras_named():
                from confluent_kafka.schema_registry import SchemaRegistryClient
            resolved = SECRETS.resolve(dict(self._settings.config))
            try:
                client = SchemaRegistryClient(
                    {**_CLIENT_DEFAULTS, **_with_numbers(resolved), "url": self._settings.url}
                )
            except (ValueError, TypeError, OSError) as error:
                raise OptionsError(f"--schema-registry-config: {error_text(error)}") from error
            with self._lock:
                self._client = self._client or client
        return self._client


def describe_key(key: SchemaKey) -> str:
    """An id or a GUID as error texts show it.

    Example:
      >>> describe_key(7)
      'id 7'
    """
    return f"id {key}" if isinstance(key, int) else f"GUID {key}"


def _named(key: SchemaKey) -> str:
    return f"schema {describe_key(key)}"


def _check_type(found: Any, schema_type: str, what: str) -> None:
    actual = found.schema_type or AVRO
    if actual != schema_type:
        raise SchemaError(f"{what} is not {_TYPES[schema_type]} but {actual}")


def _why_unreachable(error: Exception, what: str, url: str) -> str:
    """The text of an error that may be temporary; raises the right error if it is permanent."""
    from confluent_kafka.schema_registry import SchemaRegistryError

    text = error_text(error, 300)
    if isinstance(error, SchemaRegistryError):
        status = error.http_status_code
        if status == 404 and (error.error_code in _NOT_FOUND or "GUID" in what):
            raise UnknownSchemaError(f"{what} is unknown to the registry") from error
        # A 404 without one of those codes means that the address is wrong.
        if 400 <= status < 500 and status != 404 and status not in _TRANSIENT:
            raise SchemaError(f"{what}: the schema registry at {url} refused the request: {text}") from error
    return f"the schema registry at {url} did not give {what}: {text}"
