"""Names in the models topic: of models, data types and arms."""

from __future__ import annotations

from models.errors import DescriptorError
from models.text import limit_text

NAME_LIMIT = 249
"""The longest name of a model, in characters: the limit that Kafka sets for topic names."""


def check_name(name: str) -> None:
    """Raises DescriptorError unless `name` is valid as the name of a model, and so as part of a message key.

    >>> check_name("wine")
    >>> check_name("wine/2")
    Traceback (most recent call last):
        ...
    models.errors.DescriptorError: model name 'wine/2': a name must not be empty or ...
    """
    if len(name) > NAME_LIMIT:
        raise DescriptorError(
            f"model name {limit_text(name, 40)!r} has {len(name)} characters; the limit is {NAME_LIMIT}"
        )
    if not name or "/" in name or not name.isprintable() or name != name.strip():
        raise DescriptorError(
            f"model name {name!r}: a name must not be empty or contain '/' or control characters, and must not start "
            "or end with a space"
        )


ROUTE_PREFIX = "route"
"""The prefix of the keys of routes, which is therefore not available as the name of a model."""


def check_model_name(name: str) -> None:
    """Raises DescriptorError unless a model can have this name.

    >>> check_model_name("route")
    Traceback (most recent call last):
        ...
    models.errors.DescriptorError: model name 'route' is reserved for the keys of routes; choose another one
    """
    check_name(name)
    if name == ROUTE_PREFIX:
        raise DescriptorError(f"model name {name!r} is reserved for the keys of routes; choose another one")


def route_key(data_type: str) -> bytes:
    """The key of the message that contains the route of a data type."""
    return f"{ROUTE_PREFIX}/{data_type}".encode()


def routed_data_type(key: bytes | None) -> str | None:
    """The data type whose route a message of this key contains; None if it contains no route.

    >>> routed_data_type(b"route/wine"), routed_data_type(b"wine/2")
    ('wine', None)
    """
    prefix = route_key("")
    if key is None or not key.startswith(prefix):
        return None
    try:
        data_type = key[len(prefix) :].decode("utf-8")
    except UnicodeDecodeError as error:
        raise DescriptorError(f"the message key {key!r} is not UTF-8") from error
    check_name(data_type)
    return data_type
