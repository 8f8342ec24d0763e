"""The client of schema registries: which responses mean an unknown schema, and which a failure of the registry."""

from __future__ import annotations

import base64
import json
import logging
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from models import secret_references
from models.errors import OptionsError, RegistryUnreachableError, SchemaError, UnknownSchemaError
from models.records.registry import RegistrySettings, SchemaRegistry, registry_options
from runners.local.schema_registry import LocalSchemaRegistry
from tests.certificates import Certificate, self_signed
from tests.http_server import QuietHandler, http_server

SCHEMA = '{"type": "record", "name": "R", "fields": []}'
GOOD = (200, {"schema": SCHEMA})
BUSY = (503, {"error_code": 50003, "message": "busy"})


@dataclass
class Answers:
    """A registry that returns the responses in a list, and repeats the last one."""

    url: str = ""
    answers: list[tuple[int, Any]] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Answers]:
    with answering(None) as answers:
        yield answers


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return self_signed(tmp_path_factory.mktemp("certificate"), "registry.example")


@pytest.fixture
def secure_server(certificate: Certificate) -> Iterator[Answers]:
    """Accepts only TLS, and only clients that present this certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificate.certificate))
    context.load_cert_chain(certificate.certificate, certificate.key)
    context.verify_mode = ssl.CERT_REQUIRED
    with answering(context) as answers:
        yield answers


@contextmanager
def answering(context: ssl.SSLContext | None) -> Iterator[Answers]:
    """Starts a registry, with TLS if a context is given."""
    answers = Answers()

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            answers.authorizations.append(self.headers.get("Authorization"))
            status, body = answers.answers.pop(0) if len(answers.answers) > 1 else answers.answers[0]
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send(status, content)

    with http_server(Handler, context) as host:
        scheme = "http" if context is None else "https"
        answers.url = f"{scheme}://{host}"
        yield answers


class Clock:
    """Time that passes only in pauses."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def registry(
    url: str, clock: Clock | None = None, patience: float = 60.0, config: Mapping[str, str] | None = None
) -> SchemaRegistry:
    clock = clock or Clock()
    settings = RegistrySettings.from_options(registry_options(url, config or {}))
    return SchemaRegistry(settings, patience, clock.pause, lambda: clock.now)


def test_a_registry_that_is_not_well_is_asked_again_with_pauses_and_one_line_in_the_log(
    server: Answers, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers = [BUSY] * 4 + [GOOD]
    clock = Clock()
    caplog.set_level(logging.WARNING, "models")
    assert registry(server.url, clock).schema(1) == json.loads(SCHEMA)
    assert clock.pauses == [0.5, 1.0, 2.0, 4.0]
    lines = [record.getMessage() for record in caplog.records if record.name == "models.records.registry"]
    assert len(lines) == 2
    assert "did not give schema id 1" in lines[0] and "answers again" in lines[1]


@pytest.mark.parametrize(
    "answer",
    [
        BUSY,
        (500, b"oops"),
        (429, {}),
        (401, {"error_code": 401, "message": "who are you"}),
        (403, {}),
        (404, b"<html>not here</html>"),  # the address of something else
        (404, {"error_code": 404, "message": "HTTP 404 Not Found"}),
        (200, b"<html>welcome</html>"),
    ],
)
def test_patience_ends(server: Answers, answer: tuple[int, Any]) -> None:
    server.answers = [answer]
    clock = Clock()
    with pytest.raises(RegistryUnreachableError, match=f"registry at {server.url} did not give schema id 1"):
        registry(server.url, clock, patience=20.0).schema(1)
    assert clock.pauses == [0.5, 1.0, 2.0, 4.0, 8.0]


def test_what_does_not_wait_fails_at_once() -> None:
    clock = Clock()
    with pytest.raises(RegistryUnreachableError):
        registry("http://127.0.0.1:9", clock).latest("s")
    assert clock.pauses == []


@pytest.mark.parametrize("code", [40401, 40402, 40403])
def test_a_schema_that_is_not_there_is_unknown_at_once(server: Answers, code: int) -> None:
    server.answers = [(404, {"error_code": code, "message": "not found"})]
    clock = Clock()
    with pytest.raises(UnknownSchemaError, match="schema id 5 is unknown to the registry"):
        registry(server.url, clock).schema(5)
    assert clock.pauses == []


@pytest.mark.parametrize(
    "answer",
    [
        (422, {"error_code": 42201, "message": "x" * 10_000}),
        (200, {"schema": "{"}),
        (200, {"schema": '{"type": "no such type"}'}),
        (200, {"schema": SCHEMA, "schemaType": "PROTOBUF"}),
    ],
)
def test_a_schema_that_cannot_be_used_is_an_error_of_its_own(server: Answers, answer: tuple[int, Any]) -> None:
    server.answers = [answer]
    with pytest.raises(SchemaError, match="schema id 5") as raised:
        registry(server.url).schema(5)
    assert len(str(raised.value)) < 1_000


def test_an_id_that_no_registry_gives_is_not_asked_for(server: Answers) -> None:
    with pytest.raises(UnknownSchemaError):
        registry(server.url).schema(1 << 31)
    assert server.authorizations == []


# --- Credentials.


def test_basic_authentication_and_bearer_tokens_are_those_of_the_client(server: Answers) -> None:
    server.answers = [GOOD]
    registry(server.url, config={"basic.auth.user.info": "user:pass"}).schema(1)
    bearer = {
        "bearer.auth.credentials.source": "STATIC_TOKEN",
        "bearer.auth.token": "t",
        "bearer.auth.logical.cluster": "lsrc-1",
        "bearer.auth.identity.pool.id": "pool-1",
    }
    registry(server.url, config=bearer).schema(1)
    assert server.authorizations == [f"Basic {base64.b64encode(b'user:pass').decode()}", "Bearer t"]


def test_certificates_of_both_sides_make_tls(secure_server: Answers, certificate: Certificate) -> None:
    secure_server.answers = [GOOD]
    config = {
        "ssl.ca.location": str(certificate.certificate),
        "ssl.certificate.location": str(certificate.certificate),
        "ssl.key.location": str(certificate.key),
    }
    assert registry(secure_server.url, config=config).schema(1) == json.loads(SCHEMA)


@pytest.mark.parametrize("shown", [False, True], ids=["the client has no certificate", "the server's is unknown"])
def test_without_a_trusted_certificate_the_registry_is_unreachable(
    secure_server: Answers, certificate: Certificate, shown: bool
) -> None:
    secure_server.answers = [GOOD]
    config = {"ssl.ca.location": str(certificate.certificate)}
    if shown:
        config = {
            "ssl.certificate.location": str(certificate.certificate),
            "ssl.key.location": str(certificate.key),
        }
    with pytest.raises(RegistryUnreachableError, match=r"(?i)certificate"):
        registry(secure_server.url, config=config).schema(1)


def test_a_secret_may_be_a_reference(server: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answers = [GOOD]
    reader = secret_references.SecretReader(lambda name: b"user:from-" + name.rsplit("/", 1)[1].encode())
    monkeypatch.setattr("models.records.registry.SECRETS", reader)
    registry(server.url, config={"basic.auth.user.info": "secret:projects/p/secrets/s/versions/3"}).schema(1)
    assert server.authorizations == [f"Basic {base64.b64encode(b'user:from-3').decode()}"]


def test_settings_do_not_show_their_secrets() -> None:
    settings = RegistrySettings.from_options(registry_options("http://r", {"basic.auth.user.info": "user:hunter2"}))
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize(
    ("url", "config", "reason"),
    [
        ("registry:8081", {}, "--schema-registry 'registry:8081' is not an http or https address"),
        ("http://r", {"url": "http://x"}, "--schema-registry-config url cannot be set"),
        ("http://r", {"timeout": "soon"}, "--schema-registry-config timeout 'soon' is not a number"),
        (
            "http://r",
            {"basic.auth.user.info": "secret:x"},
            "--schema-registry-config basic.auth.user.info: a reference",
        ),
    ],
)
def test_settings_that_cannot_be_right_are_refused(url: str, config: dict[str, str], reason: str) -> None:
    with pytest.raises(OptionsError, match=reason):
        RegistrySettings.from_options(registry_options(url, config))


@pytest.mark.parametrize(
    "config", [{"no.such": "x"}, {"ssl.ca.location": "/no/such.pem"}, {"basic.auth.user.info": "x"}]
)
def test_settings_that_the_client_refuses_are_errors_of_the_option(config: dict[str, str]) -> None:
    with pytest.raises(OptionsError, match="--schema-registry-config"):
        registry("http://127.0.0.1:9", config=config).schema(1)


# --- A real one.


def test_records_wait_while_a_real_registry_restarts() -> None:
    with LocalSchemaRegistry() as real:
        settings = RegistrySettings(real.url)
        number = SchemaRegistry(settings).register("s", json.loads(SCHEMA))
        real.stop()
        asked = SchemaRegistry(settings, patience=60.0, pause=lambda _: real.start())
        assert asked.schema(number) == json.loads(SCHEMA)
        assert asked.register("s", json.loads(SCHEMA)) == number
