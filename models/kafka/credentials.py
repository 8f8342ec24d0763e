"""Resolves the credentials in a client's settings when the client is created."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from models.errors import OptionsError
from models.kafka.google_tokens import GoogleTokens
from models.secret_references import SECRETS, check_references, is_reference

OAUTH_CALLBACK = "oauth_cb"

# The signature that confluent-kafka expects: it returns a token and its expiry in seconds since 1970-01-01 UTC.
TokenCallback = Callable[[object], tuple[str, float]]

# Providers of OAUTHBEARER tokens by the NAME in `oauth_cb=NAME`; a new provider is one line here.
TOKEN_PROVIDERS: dict[str, Callable[[], TokenCallback]] = {"google": GoogleTokens}


def with_credentials(settings: Mapping[str, object]) -> dict[str, object]:
    """The settings with secret references resolved and the token callback created.

    Raises:
      SecretUnavailableError, TokenUnavailableError: when a credential cannot be obtained.
    """
    resolved = SECRETS.resolve(settings)
    if OAUTH_CALLBACK in resolved:
        provider = TOKEN_PROVIDERS[str(resolved[OAUTH_CALLBACK])]()
        # librdkafka swallows the exceptions of its token callback. Request the first token here, so that a missing
        # permission is reported with its cause.
        provider(None)
        resolved[OAUTH_CALLBACK] = provider
    return resolved


def without_credentials(settings: Mapping[str, str]) -> dict[str, str]:
    """The settings in a form that librdkafka can validate without reading any credential.

    Secret references become a placeholder, and private keys are dropped.

    Raises:
      OptionsError: for a malformed reference or an unknown token provider.
    """
    check_references(settings)
    kept = {}
    for name, value in settings.items():
        if name.endswith(OAUTH_CALLBACK):
            if value not in TOKEN_PROVIDERS:
                raise OptionsError(f"--kafka-config {name} {value!r} is none of {', '.join(TOKEN_PROVIDERS)}")
        elif not is_reference(value):
            kept[name] = value
        elif not name.endswith(".pem"):  # librdkafka parses keys at once, so a placeholder would be rejected
            kept[name] = "reference"
    return kept
