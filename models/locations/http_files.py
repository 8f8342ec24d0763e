"""Reads files and JSON over HTTP, for openers of locations."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlencode, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, MaxRetryError

from models.errors import HttpStatusError, ModelLoadError
from models.text import SERVER_TEXT_LIMIT, clean_text

_BLOCK = 1024 * 1024
_LARGEST_JSON = 16 * 1024 * 1024
_TIMEOUT = urllib3.Timeout(connect=10.0, read=60.0)
_RETRIES = urllib3.Retry(3, backoff_factor=0.2, status_forcelist=(429, 502, 503, 504), raise_on_status=False)

Headers = Mapping[str, str]


def check_url(url: str) -> None:
    """Raises ModelLoadError unless it is an http or https URL with a host, and without a user or password."""
    try:
        parts = urlsplit(url)
        host, user = parts.hostname, parts.username
        parts.port  # noqa: B018  # raises ValueError for a port that is not a number
    except ValueError as error:
        raise ModelLoadError(f"{url!r} is not a URL: {error}") from error
    if parts.scheme.lower() not in ("http", "https") or not host:
        raise ModelLoadError(f"{url!r} is not a URL such as https://HOST/PATH")
    if user is not None:
        raise ModelLoadError(
            f"the URL of host {host!r} contains a user or password, and everyone who reads the models topic could see "
            "it; leave it out"
        )


def get_json(url: str, parameters: Mapping[str, str], headers: Headers) -> Any:
    """The JSON that a server returns for a GET request.

    Raises:
      ModelLoadError: when the server cannot be reached, refuses, or returns something other than JSON.
    """
    return read_json(get_bytes(f"{url}?{urlencode(parameters)}" if parameters else url, headers, _LARGEST_JSON), url)


def read_json(content: bytes, url: str) -> Any:
    """Parses a response from that URL; raises ModelLoadError unless it is JSON."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ModelLoadError(f"{url} did not return JSON: {clean_text(str(error), SERVER_TEXT_LIMIT)}") from error


def get_bytes(url: str, headers: Headers, limit: int) -> bytes:
    """The bytes that a server returns for a GET request.

    Raises:
      HttpStatusError: when the server refuses.
      ModelLoadError: when the server cannot be reached, or returns more than `limit` bytes.
    """
    response = _opened(url, headers)
    try:
        content: bytes = response.read(limit + 1)
    except (HTTPError, OSError) as error:
        raise _unreadable(url, error) from error
    finally:
        response.close()
    if len(content) > limit:
        raise ModelLoadError(f"{url} returned more than {limit} bytes")
    return content


def save_file(url: str, target: Path, headers: Headers, size: int | None = None) -> None:
    """Downloads a URL to a new file.

    Args:
      url: the URL of the file.
      target: the new file; its folder is created if it is missing.
      headers: the headers of the request.
      size: the announced number of bytes; None if it was not announced.

    Raises:
      HttpStatusError: when the server refuses.
      ModelLoadError: when the server cannot be reached, or the response is cut off or not of the announced size.
    """
    response = _opened(url, headers)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            if size is None:
                shutil.copyfileobj(response, file, _BLOCK)
            else:
                _copy_exactly(response, file, size, url)
    except (HTTPError, OSError) as error:
        raise _unreadable(url, error) from error
    finally:
        response.close()


def _copy_exactly(source: urllib3.BaseHTTPResponse, target: BinaryIO, size: int, url: str) -> None:
    copied = 0
    # Reading one byte more than was announced shows whether there are more.
    while block := source.read(min(_BLOCK, size + 1 - copied)):
        copied += len(block)
        if copied > size:
            raise ModelLoadError(f"{url} returned more than the {size} bytes that were announced")
        target.write(block)
    if copied < size:
        raise ModelLoadError(f"{url} returned {copied} bytes instead of the {size} that were announced")


def _unreadable(url: str, error: Exception) -> ModelLoadError:
    return ModelLoadError(f"{url} cannot be read: {clean_text(str(error), SERVER_TEXT_LIMIT)}")


def _opened(url: str, headers: Headers) -> urllib3.BaseHTTPResponse:
    """The response to a GET request; its body has not been read yet."""
    try:
        # Without compression, because the content could be far larger than the transferred bytes.
        response = _pool().request(
            "GET", url, headers={**headers, "Accept-Encoding": "identity"}, preload_content=False, decode_content=False
        )
    except HTTPError as error:
        reason = error.reason if isinstance(error, MaxRetryError) and error.reason else error
        raise ModelLoadError(f"{url} cannot be reached: {clean_text(str(reason), SERVER_TEXT_LIMIT)}") from error
    final = response.geturl() or url
    if response.status != 200:
        text = clean_text(response.read(SERVER_TEXT_LIMIT).decode("utf-8", "replace"), SERVER_TEXT_LIMIT)
        response.close()
        raise HttpStatusError(
            f"{url} answered {response.status}: {text or response.reason}",
            response.status,
            response.headers.get("WWW-Authenticate", ""),
        )
    if url.startswith("https:") and final.startswith("http:"):
        response.close()
        raise ModelLoadError(f"{url} leads to {final}, which is not encrypted; use a URL that stays with https")
    return response


@cache
def _pool() -> urllib3.PoolManager:
    return urllib3.PoolManager(timeout=_TIMEOUT, retries=_RETRIES)
