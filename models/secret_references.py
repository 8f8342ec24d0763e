"""Secrets by reference: `secret:projects/P/secrets/S/versions/V` as the value of a setting.

Only the reference appears in options, job graphs and logs. The secret itself is read from Google Secret Manager by
the process that creates a client, and nowhere else.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from models.errors import OptionsError, SecretUnavailableError

PREFIX = "secret:"
_NAME = re.compile(r"projects/[^/\s]+/secrets/[A-Za-z0-9_-]+/versions/(latest|[A-Za-z0-9_-]+)")
_SHAPE = f"{PREFIX}projects/PROJECT/secrets/NAME/versions/VERSION"

# The settings of librdkafka and of the schema registry's client that hold a secret; librdkafka's with or without the
# prefix "producer." or "consumer.".
_SECRET_SETTINGS = re.compile(
    r"(producer\.|consumer\.)?("
    r"sasl\.password|ssl\.key\.password|ssl\.key\.pem|ssl\.keystore\.password"
    r"|sasl\.oauthbearer\.client\.secret|sasl\.oauthbearer\.config"
    r"|sasl\.oauthbearer\.assertion\.private\.key\.(passphrase|pem)"
    r"|basic\.auth\.user\.info|bearer\.auth\.token|bearer\.auth\.client\.secret)"
)

# Long enough that all clients created at start-up share one request, short enough that a new version is soon read.
_KEPT_SECONDS = 300.0
_ANSWER_SECONDS = 30.0


def is_reference(value: object) -> bool:
    """Whether a setting's value is a reference to a secret, well-formed or not.

    >>> is_reference("secret:projects/p/secrets/kafka/versions/latest"), is_reference("hunter2")
    (True, False)
    """
    return isinstance(value, str) and value.startswith(PREFIX)


def check_references(settings: Mapping[str, str], option: str = "kafka-config") -> None:
    """Raises OptionsError for a malformed reference; does not check whether the secret exists."""
    for name, value in settings.items():
        if is_reference(value) and not _NAME.fullmatch(value[len(PREFIX) :]):
            # Do not repeat the value: it may contain the secret itself, pasted by mistake.
            raise OptionsError(f"--{option} {name}: a reference to a secret has the form {_SHAPE}")


def check_secrets_are_references(settings: Mapping[str, str], option: str = "kafka-config") -> None:
    """Raises OptionsError for a secret in plain text, which would be stored with the job's graph.

    >>> check_secrets_are_references({"sasl.username": "serving"})
    >>> check_secrets_are_references({"sasl.password": "hunter2"})
    Traceback (most recent call last):
        ...
    models.errors.OptionsError: --kafka-config sasl.password would be stored with the job: put it into ...
    """
    for name, value in settings.items():
        if _SECRET_SETTINGS.fullmatch(name) and not is_reference(value):
            raise OptionsError(
                f"--{option} {name} would be stored with the job: put it into Secret Manager and pass {name}={_SHAPE}"
            )


@dataclass(frozen=True)
class _Read:
    value: str
    at: float


class SecretReader:
    """Reads secrets and caches them for some minutes. Thread-safe; it connects at first use.

    When several threads need the same secret, one of them reads it; threads that need another secret do not wait.

    Args:
      access: returns the bytes of a secret version, given its name.
    """

    def __init__(self, access: Callable[[str], bytes]) -> None:
        self._access = access
        self._lock = threading.Lock()
        self._read: dict[str, _Read] = {}
        self._reading: dict[str, threading.Lock] = {}

    def resolve(self, settings: Mapping[str, object]) -> dict[str, object]:
        """The settings with every reference replaced by its secret.

        Raises:
          SecretUnavailableError: when a secret cannot be read; the message names it and the role that is needed.
        """
        return {name: self._value(str(value)) if is_reference(value) else value for name, value in settings.items()}

    def _value(self, reference: str) -> str:
        name = reference[len(PREFIX) :]
        with self._lock:
            reading = self._reading.setdefault(name, threading.Lock())
        with reading:  # only the lock of this secret is held during the request
            known = self._read.get(name)
            if known is None or time.monotonic() - known.at > _KEPT_SECONDS:
                known = self._read[name] = _Read(self._fetched(name), time.monotonic())
            return known.value

    def _fetched(self, name: str) -> str:
        try:
            return self._access(name).decode("utf-8")
        except UnicodeDecodeError:  # not chained: the text of this error quotes bytes of the secret
            raise SecretUnavailableError(f"secret {name!r} is not UTF-8 text") from None
        except Exception as error:
            raise SecretUnavailableError(
                f"secret {name!r} cannot be read: {error}; this process's service account needs the role "
                "roles/secretmanager.secretAccessor on it"
            ) from error


def access_secret_manager(name: str) -> bytes:
    """The payload of a secret version, read from Secret Manager with the credentials of the process."""
    from google.cloud.secretmanager import SecretManagerServiceClient

    with SecretManagerServiceClient() as client:
        return bytes(client.access_secret_version(name=name, timeout=_ANSWER_SECONDS).payload.data)


SECRETS = SecretReader(access_secret_manager)
