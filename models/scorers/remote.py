"""The common parts of scorers for models on servers: locations, options, signatures and retries.

Every remote scorer has these options (their values are text in the descriptor, `ModelDescriptor.options`):

=====================  ========  ==============================================================================
option                 default   meaning
=====================  ========  ==============================================================================
`deadline`             5         time limit of one call in seconds, with all its attempts and pauses
`attempt.deadline`     deadline  time limit of one attempt in seconds; if it is less than `deadline`, another
                                 replica can answer when one hangs
`attempts`             10        maximum number of attempts per call; the deadline usually ends them first
`batch.deadline`       4 x       time limit in seconds of all calls for the records of one batch; after that no
                       deadline  further call starts, and the remaining records get an error
`backoff`              0.05      first pause between attempts in seconds; each further pause is twice as long
`backoff.limit`        1         maximum pause in seconds
`header.NAME`                    a header (gRPC: metadata) sent with every call, as in `header.seldon`
`authority`                      the requested host if it differs from the address, as with a load-balancing proxy
                                 that routes by it. The server's certificate must be issued to this name
`tls.ca`               system's  file with the certificates of the authorities that sign the server's (PEM)
`tls.certificate`                file with the client's certificate (PEM)
`tls.key`                        file with the key of the client's certificate (PEM)
=====================  ========  ==============================================================================

Each scorer's module documents its additional options. Files are read by the worker when it loads the scorer.
"""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar
from urllib.parse import unquote

import numpy as np
import tenacity

from models.errors import ModelLoadError, ModelUnreachableError, ScorerOptionError, ScoringError
from models.model_topic.descriptor import ModelDescriptor
from models.tensors import Array, Signature, TensorSpec

T = TypeVar("T")
Client = TypeVar("Client", bound="Closable")

_LOGGER = logging.getLogger(__name__)

DEFAULT_SIGNATURE = "serving_default"

# Numpy dtypes by TensorFlow's names; strings are arrays of bytes.
DTYPES: Mapping[str, np.dtype[np.generic]] = {
    "DT_FLOAT": np.dtype(np.float32),
    "DT_DOUBLE": np.dtype(np.float64),
    "DT_HALF": np.dtype(np.float16),
    "DT_INT8": np.dtype(np.int8),
    "DT_INT16": np.dtype(np.int16),
    "DT_INT32": np.dtype(np.int32),
    "DT_INT64": np.dtype(np.int64),
    "DT_UINT8": np.dtype(np.uint8),
    "DT_UINT16": np.dtype(np.uint16),
    "DT_UINT32": np.dtype(np.uint32),
    "DT_UINT64": np.dtype(np.uint64),
    "DT_BOOL": np.dtype(np.bool_),
    "DT_STRING": np.dtype(object),
    "DT_COMPLEX64": np.dtype(np.complex64),
    "DT_COMPLEX128": np.dtype(np.complex128),
}


class RemoteCallError(ScoringError):
    """A call to a server failed.

    Attributes:
      status: the status in the protocol, such as UNAVAILABLE or 503; empty when no server answered over REST.
      transient: whether the same call may succeed later or on another server, because this one was down, overloaded
        or slow; False when the server rejected the request itself.
    """

    def __init__(self, message: str, *, status: str, transient: bool) -> None:
        super().__init__(message)
        self.status = status
        self.transient = transient


class RemoteUnreachableError(RemoteCallError, ModelUnreachableError):
    """The last attempt of a call failed for a transient reason, so trying other records would not help."""


@dataclass(frozen=True)
class Address:
    """The host and port on which a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True)
class ServedModel:
    """A model on a server, as described by its location.

    Attributes:
      secure: whether the connection uses TLS.
      addresses: the addresses of the replicas, at least one.
      model: the name of the model on the server.
      version: the version that the location pins, if any; `label` is None then.
      label: the server's name for one of the versions.
      prefix: the part of a REST path before /v1/models; empty or "/...".
    """

    secure: bool
    addresses: tuple[Address, ...]
    model: str
    version: int | None = None
    label: str | None = None
    prefix: str = ""


@dataclass(frozen=True)
class LocationForm:
    """The syntax of the locations of one protocol.

    Attributes:
      schemes: the scheme of plain connections, and that of connections over TLS.
      path: a regular expression with the groups `model` and `label`, and optionally `version` and `prefix`.
      example: the syntax as shown in the error for a malformed location.
      ports: the default ports by scheme.
    """

    schemes: tuple[str, str]
    path: str
    example: str
    ports: Mapping[str, int] = field(default_factory=dict)

    def parse(self, location: str | None) -> ServedModel:
        """Parses a location.

        Raises:
          ModelLoadError: when it is malformed, or missing because the model was published inline.
        """
        if location is None:
            raise ModelLoadError(f"a model on a server needs a modelSourceLocation: {self.example}")
        plain, secure = self.schemes
        whole = re.fullmatch(rf"({plain}|{secure})://([^/]+)(/.*)", location)
        path = whole and re.fullmatch(self.path, whole[3])
        if not whole or not path:
            raise ModelLoadError(f"location {location!r} is not of the form {self.example}")
        parts = path.groupdict()
        return ServedModel(
            secure=whole[1] == secure,
            addresses=tuple(self._address(text, whole[1], location) for text in whole[2].split(",")),
            model=unquote(parts["model"]),
            version=None if parts.get("version") is None else int(parts["version"]),
            label=None if parts["label"] is None else unquote(parts["label"]),
            prefix=parts.get("prefix") or "",
        )

    def _address(self, text: str, scheme: str, location: str) -> Address:
        match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([^:@\[\]\s]+))(?::([0-9]{1,5}))?", text)
        port = int(match[3]) if match and match[3] else self.ports.get(scheme)
        if not match or port is None or not 0 < port < 65536:
            raise ModelLoadError(f"location {location!r}: {text!r} is not HOST:PORT; the form is {self.example}")
        return Address(match[1] or match[2], port)


class OptionReader:
    """Reads a descriptor's options one by one, and then rejects those that were not read.

    Args:
      options: the options of the descriptor.
    """

    def __init__(self, options: Mapping[str, str]) -> None:
        self._options = options
        self._known: list[str] = []
        self._prefixes: tuple[str, ...] = ()

    def text(self, name: str) -> str | None:
        """The value of the option; None if it is not set."""
        self._known.append(name)
        return self._options.get(name)

    def seconds(self, name: str, default: float) -> float:
        """A finite number of seconds above 0; `default` if the option is not set.

        Raises:
          ScorerOptionError: when the value is not such a number.
        """
        text = self.text(name)
        try:
            value = default if text is None else float(text)
        except ValueError:
            value = 0.0
        if not 0 < value < float("inf"):
            raise self.unreadable(name, "a number of seconds above 0")
        return value

    def count(self, name: str, default: int) -> int:
        """A whole number of at least 1; `default` if the option is not set.

        Raises:
          ScorerOptionError: when the value is not such a number.
        """
        text = self.text(name)
        if text is None:
            return default
        if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
            raise self.unreadable(name, "a whole number of at least 1")
        return int(text)

    def choice(self, name: str, values: tuple[str, ...]) -> str:
        """One of `values`; the first one if the option is not set.

        Raises:
          ScorerOptionError: when the value is not one of them.
        """
        text = self.text(name)
        if text is not None and text not in values:
            raise self.unreadable(name, " or ".join(values))
        return values[0] if text is None else text

    def file(self, name: str) -> Path | None:
        """The path of a readable file; None if the option is not set.

        Raises:
          ScorerOptionError: when the file cannot be read on this machine.
        """
        text = self.text(name)
        if text is None:
            return None
        try:
            with Path(text).open("rb"):
                return Path(text)
        except OSError as error:
            raise ScorerOptionError(
                f"option {name}: {text} cannot be read on this machine: {error.strerror}"
            ) from error

    def named(self, prefix: str, placeholder: str) -> dict[str, str]:
        """The values of the options PREFIX.NAME, by NAME; `placeholder` represents NAME in error messages."""
        start = f"{prefix}."
        self._known.append(start + placeholder)
        self._prefixes += (start,)
        return {name[len(start) :]: value for name, value in self._options.items() if name.startswith(start)}

    def unreadable(self, name: str, expected: str) -> ScorerOptionError:
        """The error for an option whose value is not `expected`."""
        return ScorerOptionError(f"option {name}: {self._options[name]!r} is not {expected}")

    def refuse_others(self) -> None:
        """Raises ScorerOptionError for options that were not read, because no scorer knows them."""
        unknown = [name for name in self._options if name not in self._known and not name.startswith(self._prefixes)]
        if unknown:
            known = ", ".join(sorted(self._known))
            raise ScorerOptionError(f"unknown option {', '.join(sorted(unknown))}; known options: {known}")


@dataclass(frozen=True)
class RemoteOptions:
    """The options of every remote scorer; the module's docstring explains each.

    Attributes:
      headers: values by name in lower case; left out of the repr, because they may be secrets.
    """

    deadline: float = 5.0
    attempt_deadline: float = 5.0
    batch_deadline: float = 20.0
    attempts: int = 10
    backoff: float = 0.05
    backoff_limit: float = 1.0
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    authority: str | None = None
    certificate_authorities: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @classmethod
    def read(cls, reader: OptionReader, *, secure: bool) -> RemoteOptions:
        """Reads the common options.

        Args:
          reader: the scorer reads its own options from it afterwards, and then calls `refuse_others`.
          secure: whether the location uses TLS; if not, the options `tls.*` are rejected.

        Raises:
          ScorerOptionError: when a value is invalid.
        """
        deadline = reader.seconds("deadline", cls.deadline)
        options = cls(
            deadline=deadline,
            attempt_deadline=min(deadline, reader.seconds("attempt.deadline", deadline)),
            batch_deadline=reader.seconds("batch.deadline", 4 * deadline),
            attempts=reader.count("attempts", cls.attempts),
            backoff=reader.seconds("backoff", cls.backoff),
            backoff_limit=reader.seconds("backoff.limit", cls.backoff_limit),
            headers=_headers(reader),
            authority=_authority(reader),
            certificate_authorities=reader.file("tls.ca"),
            certificate=reader.file("tls.certificate"),
            key=reader.file("tls.key"),
        )
        files = (options.certificate_authorities, options.certificate, options.key)
        if any(files) and not secure:
            raise ScorerOptionError("options tls.*: the location does not use TLS")
        if (options.certificate is None) != (options.key is None):
            raise ScorerOptionError("options tls.certificate and tls.key: one is set without the other")
        return options


def _headers(reader: OptionReader) -> dict[str, str]:
    headers = {name.lower(): value for name, value in reader.named("header", "NAME").items()}
    for name, value in headers.items():
        # The stricter rules of gRPC apply to REST too, so that a descriptor can change its modelType.
        if not re.fullmatch(r"[0-9a-z_.-]+", name) or name.startswith("grpc-"):
            raise ScorerOptionError(f"option header.{name}: {name!r} cannot be the name of a header")
        if not (value.isascii() and value.isprintable()):
            raise ScorerOptionError(f"option header.{name}: the value is not printable ASCII")
    return headers


def _authority(reader: OptionReader) -> str | None:
    authority = reader.text("authority")
    if authority is not None and not re.fullmatch(r"[!-.0-~]+", authority):
        raise reader.unreadable("authority", "HOST or HOST:PORT")
    return authority


def choose_signature(names: Collection[str], wanted: str | None, address: str) -> str:
    """The name of the signature to call: `wanted`, or by default serving_default or the only signature.

    Args:
      names: the names of the model's signatures.
      wanted: the signature in the descriptor, if any.
      address: the address of the model, for the error message.

    Raises:
      ModelLoadError: when the signature does not exist or the choice is ambiguous; the message lists the signatures.

    >>> choose_signature(["predict", "__saved_model_init_op"], None, "http://serving")
    'predict'
    >>> choose_signature(["predict", "explain"], None, "http://serving")
    Traceback (most recent call last):
        ...
    models.errors.ModelLoadError: http://serving: the descriptor must name a signature; signatures: explain, predict
    """
    # TensorFlow lists a model's initialization among its signatures, under names that start with two underscores.
    callable_names = sorted(name for name in names if not name.startswith("__"))
    if wanted in callable_names and wanted is not None:
        return wanted
    if wanted is None and DEFAULT_SIGNATURE in callable_names:
        return DEFAULT_SIGNATURE
    if wanted is None and len(callable_names) == 1:
        return callable_names[0]
    problem = f"there is no signature {wanted!r}" if wanted else "the descriptor must name a signature"
    raise ModelLoadError(f"{address}: {problem}; signatures: {', '.join(callable_names) or 'none'}")


def tensor_dtype(name: str, tensor: str, address: str) -> np.dtype[np.generic]:
    """The numpy dtype of TensorFlow's type `name`, such as DT_FLOAT.

    Raises:
      ModelLoadError: when numpy has no such dtype; the message names the tensor.
    """
    if name not in DTYPES:
        raise ModelLoadError(f"{address}: {tensor!r} is of type {name}, which is not supported")
    return DTYPES[name]


def wanted_outputs(descriptor: ModelDescriptor, known: Collection[str], address: str) -> tuple[str, ...]:
    """The model outputs that the descriptor selects, sorted by name; empty means all.

    Raises:
      ModelLoadError: when the signature has outputs, but lacks one of these.
    """
    wanted = sorted(set(descriptor.outputs.values()))
    missing = [name for name in wanted if name not in known] if known else []
    if missing:
        raise ModelLoadError(f"{address}: there is no output {', '.join(missing)}; outputs: {', '.join(sorted(known))}")
    return tuple(wanted)


def row_count(inputs: Mapping[str, Array]) -> int:
    """The number of rows, which is the first dimension of every input.

    >>> row_count({"user": np.zeros(3), "products": np.zeros((3, 10))})
    3
    """
    return next((array.shape[0] for array in inputs.values() if array.ndim), 0)


def check_rows(outputs: Mapping[str, Array], rows: int, address: str) -> None:
    """Raises ScoringError unless every output has one row for each input row."""
    for name, array in outputs.items():
        if array.ndim == 0 or array.shape[0] != rows:
            raise ScoringError(f"{address}: output {name!r} has shape {array.shape}, but the input has {rows} rows")


def no_rows(specs: Mapping[str, TensorSpec]) -> dict[str, Array]:
    """Outputs without rows, for a call without rows that cannot be sent; unknown sizes are 0.

    >>> no_rows({"y": TensorSpec("y", np.dtype(np.float32), (None, 3))})
    {'y': array([], shape=(0, 3), dtype=float32)}
    """
    return {
        name: np.empty((0, *(size or 0 for size in (spec.shape or ())[1:])), spec.dtype) for name, spec in specs.items()
    }


class Closable(Protocol):
    """A client that must be closed."""

    def close(self) -> None:
        """Releases its connections."""


@contextmanager
def closed_on_failure(client: Closable) -> Iterator[None]:
    """Closes the client if the body of the with block fails; a failed call becomes a ModelLoadError.

    An error of `close` is only logged, so that it does not hide the original error.

    Raises:
      ModelLoadError: for a ScoringError, with its text.
    """
    try:
        yield
    except BaseException as error:
        try:
            client.close()
        except Exception:
            _LOGGER.exception("a client that failed could not be closed either")
        if isinstance(error, ScoringError):
            raise ModelLoadError(str(error)) from error
        raise


class RemoteScorer(Generic[Client]):
    """The base class of scorers for models on servers; see `models.scorers.base.Scorer`.

    Args:
      address: the location in the descriptor.
      client: the client, which the scorer closes.
      signature: the signature to call.
      outputs: the outputs that the descriptor selects; empty means all.
      batch_deadline: the limit in seconds for all calls of one batch.
    """

    digest = None

    def __init__(
        self, address: str, client: Client, signature: Signature, outputs: tuple[str, ...], batch_deadline: float
    ) -> None:
        self._batch_deadline = batch_deadline
        self._address = address
        self._client = client
        self._signature = signature
        self._outputs = outputs

    @property
    def signature(self) -> Signature:
        """The signature in the server's metadata, or one built from the descriptor if the server has no metadata."""
        return self._signature

    @property
    def address(self) -> str:
        """The location in the descriptor."""
        return self._address

    @property
    def batch_deadline(self) -> float:
        """The option `batch.deadline`."""
        return self._batch_deadline

    def close(self) -> None:
        """Releases the client's connections; connections that other scorers use stay open."""
        self._client.close()


class Retries:
    """Repeats attempts that failed for a transient reason, with growing pauses, within one deadline. Thread-safe.

    tenacity is used for both REST and gRPC. The retries of gRPC itself, configured by the service config, are not
    used: they are limited to 5 attempts, give up on requests above 256 KiB (a batch of a few thousand rows), and
    belong to the channel, so scorers with different settings could not share one.
    """

    def __init__(self, options: RemoteOptions, addresses: int = 1) -> None:
        """Creates a policy from the options.

        Args:
          options: the deadlines, the number of attempts and the pauses.
          addresses: the number of addresses that successive attempts go to; a pause follows after all were tried.
        """
        self._options = options
        self._addresses = addresses
        self._retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(options.attempts) | tenacity.stop_before_delay(options.deadline),
            wait=self._pause,
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, RemoteCallError) and error.transient),
            reraise=True,
        )

    def call(self, attempt: Callable[[float], T]) -> T:
        """Calls `attempt` until it succeeds, each time with its time limit in seconds, and returns its result.

        Raises:
          RemoteUnreachableError: when the last attempt failed for a transient reason, even if it was the only one.
          RemoteCallError: when the last attempt failed for another reason.
        """
        end = time.monotonic() + self._options.deadline
        attempts = 0

        def once() -> T:
            nonlocal attempts
            attempts += 1
            return attempt(max(0.001, min(self._options.attempt_deadline, end - time.monotonic())))

        try:
            return self._retrying(once)
        except RemoteCallError as error:
            if attempts == 1 and not error.transient:
                raise
            text = str(error) if attempts == 1 else f"{error} (after {attempts} attempts)"
            kind = RemoteUnreachableError if error.transient else RemoteCallError
            raise kind(text, status=error.status, transient=error.transient) from error

    def _pause(self, state: tenacity.RetryCallState) -> float:
        rounds, rest = divmod(state.attempt_number, self._addresses)
        if rest:
            return 0.0
        longest = min(self._options.backoff_limit, self._options.backoff * 2.0 ** min(rounds - 1, 60))
        # Without jitter, all workers would retry on a recovering server at the same moments.
        return longest * random.uniform(0.5, 1.0)
