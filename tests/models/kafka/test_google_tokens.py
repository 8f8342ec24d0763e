from __future__ import annotations

import base64
import datetime
import json
import time
from typing import Any

import pytest

from models.errors import TokenUnavailableError
from models.kafka.google_tokens import GoogleTokens


class Identity:
    """Credentials of google-auth, like those of a service account: each refresh is valid for an hour."""

    service_account_email = "worker@demo-project.iam.gserviceaccount.com"

    def __init__(self) -> None:
        self.refreshed = 0
        self.expiry = datetime.datetime(2000, 1, 1)
        self.token = ""

    @property
    def valid(self) -> bool:
        now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
        return self.expiry > now

    def refresh(self, _: object) -> None:
        self.refreshed += 1
        now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
        self.expiry = now + datetime.timedelta(hours=1)
        self.token = f"ya29.token-{self.refreshed}"


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def test_a_token_carries_googles_scheme_the_claims_and_the_access_token() -> None:
    identity = Identity()
    token, expires = GoogleTokens(identity)(None)
    header, claims, access = map(decoded, token.split("."))
    assert json.loads(header) == {"typ": "JWT", "alg": "GOOG_OAUTH2_TOKEN"}
    assert access == b"ya29.token-1"
    said: dict[str, Any] = json.loads(claims)
    assert (said["iss"], said["scope"], said["sub"]) == ("Google", "kafka", identity.service_account_email)
    assert said["exp"] == expires
    assert expires == pytest.approx(time.time() + 3600, abs=60)
    assert "=" not in token


def test_a_token_is_used_until_it_has_expired() -> None:
    identity = Identity()
    tokens = GoogleTokens(identity)
    tokens(None)
    tokens(None)
    assert identity.refreshed == 1
    identity.expiry = datetime.datetime(2000, 1, 1)
    tokens(None)
    assert identity.refreshed == 2


def test_without_credentials_the_error_names_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(**_: object) -> None:
        raise RuntimeError("no default credentials")

    monkeypatch.setattr("google.auth.default", nothing)
    with pytest.raises(TokenUnavailableError, match=r"no default credentials.*roles/managedkafka\.client"):
        GoogleTokens()(None)
