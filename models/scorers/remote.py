"""What the scorers of models in other processes share: locations, options, signatures and retries.

Options that every remote scorer reads (all are text in the descriptor, `ModelDescriptor.options`):

=====================  ========  ==============================================================================
option                 default   meaning
=====================  ========  ==============================================================================
`deadline`             5         seconds that one call may take, with all its attempts and pauses
`attempt.deadline`     deadline  seconds that one attempt may take; less than `deadline` lets another replica
                                 answer for one that hangs
`attempts`             10        attempts of one call at most; the deadline usually ends them first
`batch.deadline`       4 x       seconds that all calls for the records of one batch may take together; after them
                       deadline  no further call begins, and the records that are left get an error
`backoff`              0.05      seconds of the first pause between attempts; it doubles from pause to pause
`backoff.limit`        1         seconds that no pause exceeds
`header.NAME`                    a header (gRPC: metadata) sent with every call, as in `header.seldon`
`authority`                      the host that the call asks for when it is not the address called: a balancing
                                 proxy routes by it. It is also the name that the certificate must carry
`tls.ca`               system's  file with the certificates that sign the server's (PEM)
`tls.certificate`                file with the client's certificate (PEM)
`tls.key`                        file with the key of the client's certificate (PEM)
=====================  ========  ==============================================================================

Each scorer's module documents the options that it adds. Files are read where the scorer is loaded, at load.
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
from models.tensors import Array, Signature

T = TypeVar("T")
Client = TypeVar("Client", bound="Closable")

_LOGGER = logging.getLogger(__name__)

DEFAULT_SIGNATURE = "serving_default"

# TensorFlow's names of the types; strings are arrays of bytes.
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
      status: what the protocol calls it: UNAVAILABLE, 503; empty when no server answered over REST.
      transient: the same call may succeed later or elsewhere (the server was away, full or slow); False when the
        server has judged this very request.
    """

    def __init__(self, message: str, *, status: str, transient: bool) -> None:
        super().__init__(message)
        self.status = status
        self.transient = transient


class RemoteUnreachableError(RemoteCallError, ModelUnreachableError):
    """The last attempt of a call failed for a passing reason: other records would fare no better, so none is tried."""


@dataclass(frozen=True)
class Address:
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True)
class ServedModel:
    """A model in a server, as its location names it.

    Attributes:
      secure: whether the connection is TLS.
      addresses: of the replicas, one at least.
      version: None unless the location pins one; then `label` is None.
      label: a name that the server gives to one of the versions.
      prefix: of a REST path, before /v1/models; empty or "/...".
    """

    secure: bool
    addresses: tuple[Address, ...]
    model: str
    version: int | None = None
    label: str | None = None
    prefix: str = ""


@dataclass(frozen=True)
class LocationForm:
    """How the locations of one protocol are written.

    Attributes:
      schemes: the plain one and the one over TLS.
      path: a regular expression with the group `model`, and if need be `version`, `label` and `prefix`.
      ports: by scheme, for addresses that name none.
      example: what the message of a malformed location shows.
    """

    schemes: tuple[str, str]
    path: str
    example: str
    ports: Mapping[str, int] = field(default_factory=dict)

    def parse(self, location: str | None) -> ServedModel:
        """Reads a location.

        Raises:
          ModelLoadError: when it is malformed, or there is none because the model itself was published.
        """
        if location is None:
            raise ModelLoadError(f"a model in a server needs a modelSourceLocation: {self.example}")
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
            version=None if parts["version"] is None else int(parts["version"]),
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
    """Reads a descriptor's options one by one, and then refuses those that nobody asked for."""

    def __init__(self, options: Mapping[str, str]) -> None:
        self._options = options
        self._known: list[str] = []
        self._prefixes: tuple[str, ...] = ()

    def text(self, name: str) -> str | None:
        """The option's value; None when it is not given."""
        self._known.append(name)
        return self._options.get(name)

    def seconds(self, name: str, default: float) -> float:
        """A number above 0 that is not infinite.

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
        """A whole number from 1.

        Raises:
          ScorerOptionError: when the value is not such a number.
        """
        text = self.text(name)
        if text is None:
            return default
        if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
            raise self.unreadable(name, "a whole number from 1")
        return int(text)

    def choice(self, name: str, values: tuple[str, ...]) -> str:
        """One of `values`; the first of them when the option is not given.

        Raises:
          ScorerOptionError: when the value is none of them.
        """
        text = self.text(name)
        if text is not None and text not in values:
            raise self.unreadable(name, " or ".join(values))
        return values[0] if text is None else text

    def file(self, name: str) -> Path | None:
        """A file that can be read.

        Raises:
          ScorerOptionError: when there is no such file here.
        """
        text = self.text(name)
        if text is None:
            return None
        try:
            with Path(text).open("rb"):
                return Path(text)
        except OSError as error:
            raise ScorerOptionError(f"option {name}: {text} cannot be read here: {error.strerror}") from error

    def named(self, prefix: str, placeholder: str) -> dict[str, str]:
        """The options PREFIX.NAME, by NAME."""
        start = f"{prefix}."
        self._known.append(start + placeholder)
        self._prefixes += (start,)
        return {name[len(start) :]: value for name, value in self._options.items() if name.startswith(start)}

    def unreadable(self, name: str, expected: str) -> ScorerOptionError:
        """The error of a value that is not what it should be."""
        return ScorerOptionError(f"option {name}: {self._options[name]!r} is not {expected}")

    def refuse_others(self) -> None:
        """Raises ScorerOptionError when an option is given that nobody asked for."""
        unknown = [name for name in self._options if name not in self._known and not name.startswith(self._prefixes)]
        if unknown:
            known = ", ".join(sorted(self._known))
            raise ScorerOptionError(f"unknown option {', '.join(sorted(unknown))}; known options: {known}")


@dataclass(frozen=True)
class RemoteOptions:
    """The options that every remote scorer reads; the module's docstring tells what each means.

    Attributes:
      headers: by name in small letters; may hold secrets, and is not shown.
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
        """Reads them.

        Args:
          reader: what is left in it is for the scorer, which ends with `refuse_others`.
          secure: whether the location is one over TLS; the options `tls.*` are refused otherwise.

        Raises:
          ScorerOptionError: when a value cannot be read.
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
            raise ScorerOptionError("options tls.*: the location is not one over TLS")
        if (options.certificate is None) != (options.key is None):
            raise ScorerOptionError("options tls.certificate and tls.key: one is given without the other")
        return options


def _headers(reader: OptionReader) -> dict[str, str]:
    headers = {name.lower(): value for name, value in reader.named("header", "NAME").items()}
    for name, value in headers.items():
        # The stricter rules of gRPC hold for REST too, so that a descriptor can change its modelType.
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
    """The name of the signature to call: the one that is wanted, else serving_default, else the only one.

    Args:
      names: of all that the model has.
      wanted: what the descriptor names.
      address: of the model, for the message.

    Raises:
      ModelLoadError: when it is not there or cannot be told; the message names those that are.

    >>> choose_signature(["predict", "__saved_model_init_op"], None, "http://serving")
    'predict'
    >>> choose_signature(["predict", "explain"], None, "http://serving")
    Traceback (most recent call last):
        ...
    models.errors.ModelLoadError: http://serving: the descriptor must name a signature; signatures: explain, predict
    """
    # TensorFlow keeps the initialisation of a model among its signatures, under names with two underscores.
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
      ModelLoadError: when numpy has none; the message names the tensor.
    """
    if name not in DTYPES:
        raise ModelLoadError(f"{address}: {tensor!r} is of type {name}, which is not served")
    return DTYPES[name]


def wanted_outputs(descriptor: ModelDescriptor, known: Collection[str], address: str) -> tuple[str, ...]:
    """The model outputs that the descriptor's result takes, in the order of their names; empty: all.

    Raises:
      ModelLoadError: when the signature has outputs, but not one of these.
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
    """Raises ScoringError unless every output has one row for each row that went in."""
    for name, array in outputs.items():
        if array.ndim == 0 or array.shape[0] != rows:
            raise ScoringError(f"{address}: output {name!r} has the shape {array.shape}, the input {rows} rows")


class Closable(Protocol):
    """A client that is to be closed."""

    def close(self) -> None:
        """Gives its connections back."""


@contextmanager
def closed_on_failure(client: Closable) -> Iterator[None]:
    """Closes the client when what happens within fails; a failed call becomes a ModelLoadError.

    An error of `close` is logged, so that it does not hide why the client is closed.

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
    """What scorers of models on servers have in common; see `models.scorers.base.Scorer`.

    Args:
      address: the location as it was given.
      client: closed with the scorer.
      signature: what is called.
      outputs: those that the descriptor takes; empty: all.
      batch_deadline: seconds for all calls of one batch.
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
        """As the server's metadata tell it, or built from the descriptor where a server has none."""
        return self._signature

    @property
    def address(self) -> str:
        """The location as it was given."""
        return self._address

    @property
    def batch_deadline(self) -> float:
        """The option `batch.deadline`."""
        return self._batch_deadline

    def close(self) -> None:
        """Gives the client's connections back; those that others use stay open."""
        self._client.close()


class Retries:
    """Repeats attempts that failed for a passing reason, with growing pauses, within one deadline.

    tenacity does it for REST and gRPC alike. gRPC has retries of its own, set by the service config, and they are
    not used: they end at 5 attempts, give up on requests above 256 KiB (one batch of a few thousand rows), and
    belong to the channel, so that scorers with different settings could not share one.

    May be used by several threads at once.
    """

    def __init__(self, options: RemoteOptions, addresses: int = 1) -> None:
        """Args: addresses, when successive attempts go to different ones: the pause comes once all had their turn."""
        self._options = options
        self._addresses = addresses
        self._retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(options.attempts) | tenacity.stop_before_delay(options.deadline),
            wait=self._pause,
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, RemoteCallError) and error.transient),
            reraise=True,
        )

    def call(self, attempt: Callable[[float], T]) -> T:
        """Calls `attempt` with the seconds that it may take, until it returns.

        Raises:
          RemoteUnreachableError: when the last attempt failed for a passing reason, were it the only one.
          RemoteCallError: the last one that `attempt` raised.
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
        # Without the jitter, all workers would come back to a server at the same moments.
        return longest * random.uniform(0.5, 1.0)
