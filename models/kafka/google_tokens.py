"""OAUTHBEARER tokens for Google's Managed Service for Apache Kafka, made from the identity of the process.

The brokers expect three parts, like a JWT: a header that names Google's scheme, the claims, and Google's access token
in place of the signature.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from datetime import timezone
from typing import Any

from models.errors import TokenUnavailableError

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_HEADER = {"typ": "JWT", "alg": "GOOG_OAUTH2_TOKEN"}


class GoogleTokens:
    """Provides tokens to librdkafka, which calls it whenever it needs one, also from its own threads.

    It is created in the process that creates the client, and is never pickled.

    Args:
      credentials: credentials of google-auth; None means the application default credentials.
    """

    def __init__(self, credentials: Any = None) -> None:
        self._credentials = credentials
        self._lock = threading.Lock()

    def __call__(self, _: object = None) -> tuple[str, float]:
        """A token, and its expiry in seconds since 1970-01-01 UTC.

        Raises:
          TokenUnavailableError: when Google does not issue one.
        """
        with self._lock:
            try:
                return self._token()
            except Exception as error:
                raise TokenUnavailableError(
                    f"Google did not issue a token for Kafka: {error}; the process needs application default "
                    "credentials, and its service account needs the role roles/managedkafka.client"
                ) from error

    def _token(self) -> tuple[str, float]:
        import google.auth
        from google.auth.transport.requests import Request

        if self._credentials is None:
            self._credentials, _ = google.auth.default(scopes=_SCOPES)
        if not self._credentials.valid:
            self._credentials.refresh(Request())
        # google-auth keeps the expiry as a naive datetime in UTC.
        expires = self._credentials.expiry.replace(tzinfo=timezone.utc).timestamp()
        claims = {
            "exp": expires,
            "iat": time.time(),
            "iss": "Google",
            "scope": "kafka",
            "sub": self._credentials.service_account_email,
        }
        parts = (json.dumps(_HEADER), json.dumps(claims), self._credentials.token)
        return ".".join(_encoded(part) for part in parts), expires


def _encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode("utf-8")).decode("ascii").rstrip("=")
