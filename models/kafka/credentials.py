"""What a client's settings say about credentials, turned into what librdkafka takes, when the client is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from models.errors import OptionsError
from models.kafka.google_tokens import GoogleTokens
from models.kafka.secret_references import SECRETS, check_references, is_reference

OAUTH_CALLBACK = "oauth_cb"

# As confluent-kafka calls it: a token, and when it expires in seconds since 1970-01-01 UTC.
TokenCallback = Callable[[object], tuple[str, float]]

# A new provider of OAUTHBEARER tokens is one line: its name in `oauth_cb=NAME`.
TOKEN_PROVIDERS: dict[str, Callable[[], TokenCallback]] = {"google": GoogleTokens}


def with_credentials(settings: Mapping[str, object]) -> dict[str, object]:
    """The settings with secrets read and the token callback made.

    Raises:
      SecretUnavailableError, TokenUnavailableError: when there is no credential to be had.
    """
    resolved = SECRETS.resolve(settings)
    if OAUTH_CALLBACK in resolved:
        provider = TOKEN_PROVIDERS[str(resolved[OAUTH_CALLBACK])]()
        # librdkafka hides why there was no token: the first is asked for here.
        provider(None)
        resolved[OAUTH_CALLBACK] = provider
    return resolved


def without_credentials(settings: Mapping[str, str]) -> dict[str, str]:
    """The settings as far as they can be tried where no credential may be read.

    Raises:
      OptionsError: for a malformed reference, or a provider of tokens that does not exist.
    """
    check_references(settings)
    kept = {}
    for name, value in settings.items():
        if name.endswith(OAUTH_CALLBACK):
            if value not in TOKEN_PROVIDERS:
                raise OptionsError(f"--kafka-config {name} {value!r} is none of {', '.join(TOKEN_PROVIDERS)}")
        elif not is_reference(value):
            kept[name] = value
        elif not name.endswith(".pem"):  # a key must be a real one to be taken
            kept[name] = "reference"
    return kept
