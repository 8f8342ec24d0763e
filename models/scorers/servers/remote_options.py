"""The options of every scorer for models on servers.

Their values are text in the descriptor, `ModelDescriptor.options`:

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

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from models.errors import ScorerOptionError
from models.scorers.option_reader import OptionReader


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
          ScorerOptionError: a value is invalid.
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
