from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager

import grpc
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import secretmanager
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import SecretManagerServiceGrpcTransport

from models.errors import OptionsError, SecretUnavailableError
from models.secret_references import (
    SecretReader,
    access_secret_manager,
    check_references,
    check_secrets_are_references,
    is_reference,
)

NAME = "projects/demo-project/secrets/kafka-password/versions/3"
REFERENCE = f"secret:{NAME}"


# --- References.


@pytest.mark.parametrize("version", ["1", "latest", "live-alias"])
def test_a_reference_names_project_secret_and_version(version: str) -> None:
    check_references({"sasl.password": f"secret:projects/p/secrets/S_1-a/versions/{version}", "client.id": "c"})


@pytest.mark.parametrize("value", ["secret:hunter2", "secret:projects/p/secrets/s", "secret:", f"{REFERENCE}/x"])
def test_a_malformed_reference_is_refused_and_not_repeated(value: str) -> None:
    with pytest.raises(OptionsError, match=r"sasl\.password: a reference to a secret has the form secret:") as raised:
        check_references({"sasl.password": value})
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    "name", ["sasl.password", "producer.sasl.password", "ssl.key.pem", "sasl.oauthbearer.client.secret"]
)
def test_a_plain_text_secret_is_rejected_where_the_job_would_store_it(name: str) -> None:
    with pytest.raises(OptionsError, match="put it into Secret Manager") as raised:
        check_secrets_are_references({name: "hunter2"})
    assert "hunter2" not in str(raised.value)


def test_references_and_settings_without_secrets_may_be_stored() -> None:
    check_secrets_are_references({"sasl.password": REFERENCE, "sasl.username": "u", "ssl.ca.location": "/ca"})


def test_only_a_text_with_the_prefix_is_a_reference() -> None:
    assert is_reference(REFERENCE)
    assert not is_reference("password")
    assert not is_reference(5)


# --- Reading.


def test_references_are_replaced_and_the_rest_is_kept() -> None:
    reader = SecretReader({NAME: b"hunter2"}.__getitem__)
    assert reader.resolve({"sasl.password": REFERENCE, "linger.ms": 5}) == {"sasl.password": "hunter2", "linger.ms": 5}


def test_a_slow_secret_does_not_delay_another_one() -> None:
    begun, go_on = threading.Event(), threading.Event()
    other = NAME.replace("kafka-password", "other")

    def access(name: str) -> bytes:
        if name == NAME:
            begun.set()
            assert go_on.wait(20.0)
        return name.encode()

    reader = SecretReader(access)
    with futures.ThreadPoolExecutor(2) as pool:
        slow = pool.submit(reader.resolve, {"sasl.password": REFERENCE})
        assert begun.wait(20.0)
        try:
            fast = pool.submit(reader.resolve, {"sasl.password": f"secret:{other}"})
            assert fast.result(20.0) == {"sasl.password": other}
        finally:
            go_on.set()
        assert slow.result(20.0) == {"sasl.password": NAME}


def test_a_secret_is_cached_for_some_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    now = [1_000.0]
    monkeypatch.setattr("models.secret_references.time.monotonic", lambda: now[0])

    def access(name: str) -> bytes:
        asked.append(name)
        return b"%d" % len(asked)

    reader = SecretReader(access)
    first = [reader.resolve({"a": REFERENCE})["a"] for _ in range(3)]
    now[0] += 301.0
    assert [*first, reader.resolve({"a": REFERENCE})["a"]] == ["1", "1", "1", "2"]


def test_the_error_for_an_unreadable_secret_names_it_and_the_required_role() -> None:
    def access(name: str) -> bytes:
        raise PermissionError("closed")

    with pytest.raises(SecretUnavailableError, match=rf"{NAME}.*closed.*roles/secretmanager\.secretAccessor"):
        SecretReader(access).resolve({"a": REFERENCE})


def test_bytes_that_are_not_text_are_not_repeated() -> None:
    with pytest.raises(SecretUnavailableError, match="is not UTF-8 text") as raised:
        SecretReader(lambda _: b"\xffhunter2").resolve({"a": REFERENCE})
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


# --- Secret Manager itself, over its own protocol.


@contextmanager
def secret_manager(secrets: dict[str, bytes]) -> Iterator[str]:
    """Serves Secret Manager's AccessSecretVersion; returns its address."""

    def access(
        request: secretmanager.AccessSecretVersionRequest, context: grpc.ServicerContext
    ) -> secretmanager.AccessSecretVersionResponse:
        if request.name not in secrets:
            context.abort(grpc.StatusCode.NOT_FOUND, "Secret Version not found.")
        payload = secretmanager.SecretPayload(data=secrets[request.name])
        return secretmanager.AccessSecretVersionResponse(name=request.name, payload=payload)

    handler = grpc.unary_unary_rpc_method_handler(
        access,
        request_deserializer=secretmanager.AccessSecretVersionRequest.deserialize,
        response_serializer=secretmanager.AccessSecretVersionResponse.serialize,
    )
    server = grpc.server(futures.ThreadPoolExecutor(1))
    service = "google.cloud.secretmanager.v1.SecretManagerService"
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {"AccessSecretVersion": handler})])
    port = server.add_insecure_port("localhost:0")
    server.start()
    try:
        yield f"localhost:{port}"
    finally:
        server.stop(None).wait()


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[SecretReader]:
    """A reader whose client connects to our own server."""
    made = secretmanager.SecretManagerServiceClient
    with secret_manager({NAME: b"hunter2"}) as address:

        def client() -> secretmanager.SecretManagerServiceClient:
            channel = grpc.insecure_channel(address)
            credentials = AnonymousCredentials()  # type: ignore[no-untyped-call]
            return made(transport=SecretManagerServiceGrpcTransport(channel=channel, credentials=credentials))

        monkeypatch.setattr(secretmanager, "SecretManagerServiceClient", client)
        yield SecretReader(access_secret_manager)


def test_secret_manager_is_queried_with_its_own_protocol(served: SecretReader) -> None:
    assert served.resolve({"sasl.password": REFERENCE}) == {"sasl.password": "hunter2"}


def test_a_missing_version_is_named(served: SecretReader) -> None:
    with pytest.raises(SecretUnavailableError, match=r"versions/9' cannot be read: 404 Secret Version not found"):
        served.resolve({"sasl.password": REFERENCE.replace("/3", "/9")})
