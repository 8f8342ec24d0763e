"""Tokens for Google's Managed Service for Apache Kafka: the process's own identity, in OAUTHBEARER's clothes.

The brokers take a token of three parts, as a JWT has: a header that names Google's scheme, the claims, and Google's
access token in the place of the signature.
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
    """Gives tokens to librdkafka, which calls it when it needs one, also from its own threads.

    Made in the process that makes the client; it is never pickled.

    Args:
      credentials: of google-auth; None: the application default credentials.
    """

    def __init__(self, credentials: Any = None) -> None:
        self._credentials = credentials
        self._lock = threading.Lock()

    def __call__(self, _: object = None) -> tuple[str, float]:
        """A token, and when it expires in seconds since 1970-01-01 UTC.

        Raises:
          TokenUnavailableError: when Google gives none.
        """
        with self._lock:
            try:
                return self._token()
            except Exception as error:
                raise TokenUnavailableError(
                    f"Google gave no token for Kafka: {error}; the process needs application default credentials, and "
                    "its service account the role roles/managedkafka.client"
                ) from error

    def _token(self) -> tuple[str, float]:
        import google.auth
        from google.auth.transport.requests import Request

        if self._credentials is None:
            self._credentials, _ = google.auth.default(scopes=_SCOPES)
        if not self._credentials.valid:
            self._credentials.refresh(Request())
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
