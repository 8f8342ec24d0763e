from __future__ import annotations

import pickle
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from confluent_kafka import KafkaException

from models.errors import OptionsError, SecretUnavailableError, TokenUnavailableError
from models.kafka import credentials as kafka_credentials
from models.kafka.client import KafkaSettings
from models.kafka.credentials import with_credentials, without_credentials
from models.secret_references import SecretReader

NAME = "projects/demo-project/secrets/kafka-password/versions/3"
REFERENCE = f"secret:{NAME}"
PLAIN = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "u"}
GOOGLE = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "OAUTHBEARER", "oauth_cb": "google"}


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the secrets that were read; only one secret exists."""
    read: list[str] = []

    def access(name: str) -> bytes:
        read.append(name)
        return {NAME: b"hunter2"}[name]

    monkeypatch.setattr(kafka_credentials, "SECRETS", SecretReader(access))
    return read


@pytest.fixture
def tokens(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tokens that were issued, in place of Google's."""
    given: list[str] = []

    def provider() -> kafka_credentials.TokenCallback:
        def token(_: object) -> tuple[str, float]:
            given.append("header.claims.access")
            return given[-1], 4_000_000_000.0

        return token

    monkeypatch.setitem(kafka_credentials.TOKEN_PROVIDERS, "google", provider)
    return given


# --- A check reads no credentials.


def test_a_check_reads_no_secret_and_asks_for_no_token(secrets: list[str], tokens: list[str]) -> None:
    KafkaSettings("127.0.0.1:1", {**PLAIN, "sasl.password": REFERENCE}).check()
    KafkaSettings("127.0.0.1:1", {**GOOGLE, "ssl.key.pem": REFERENCE}).check()
    assert (secrets, tokens) == ([], [])


def test_a_check_still_sees_a_setting_that_is_wrong(secrets: list[str]) -> None:
    with pytest.raises(OptionsError, match=r"no\.such\.setting"):
        KafkaSettings("127.0.0.1:1", {"no.such.setting": REFERENCE}).check()


@pytest.mark.parametrize("name", ["oauth_cb", "consumer.oauth_cb"])
def test_an_unknown_token_provider_is_rejected(name: str) -> None:
    with pytest.raises(OptionsError, match=f"{name} 'gogle' is none of google"):
        without_credentials({name: "gogle"})


# --- The credentials of a client.


def test_a_client_gets_the_secret_behind_a_reference(secrets: list[str]) -> None:
    assert with_credentials({**PLAIN, "sasl.password": REFERENCE}) == {**PLAIN, "sasl.password": "hunter2"}


def test_creating_a_client_reads_the_secret(secrets: list[str]) -> None:
    KafkaSettings("127.0.0.1:1", {**PLAIN, "producer.sasl.password": REFERENCE}).producer()
    assert secrets == [NAME]


def test_a_secret_of_the_other_client_is_not_read(secrets: list[str]) -> None:
    KafkaSettings("127.0.0.1:1", {"consumer.ssl.key.password": REFERENCE}).producer()
    assert secrets == []


def test_a_client_without_its_secret_is_not_created(secrets: list[str]) -> None:
    with pytest.raises(SecretUnavailableError, match="versions/9"):
        KafkaSettings("127.0.0.1:1", {**PLAIN, "sasl.password": REFERENCE.replace("/3", "/9")}).admin()


def test_a_client_without_a_token_is_not_created_and_the_error_explains_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(**_: object) -> None:
        raise RuntimeError("no default credentials")

    monkeypatch.setattr("google.auth.default", nothing)
    with pytest.raises(TokenUnavailableError, match="no default credentials"):
        KafkaSettings("127.0.0.1:1", GOOGLE).consumer("g")


def test_settings_with_credentials_are_pickled_as_they_were_given(secrets: list[str], tokens: list[str]) -> None:
    settings = KafkaSettings("127.0.0.1:1", {**GOOGLE, "sasl.password": REFERENCE})
    settings.consumer("g").close()
    pickled = pickle.dumps(settings)
    assert pickle.loads(pickled) == settings
    assert b"hunter2" not in pickled
    assert b"header.claims.access" not in pickled


# --- OAUTHBEARER as a broker sees it.


@dataclass
class SaslBroker:
    """Speaks Kafka's protocol as far as a SASL handshake, and records the credentials that it received."""

    address: str = ""
    mechanisms: list[str] = field(default_factory=list)
    shown: list[bytes] = field(default_factory=list)

    def serve(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                self._converse(connection)

    def _converse(self, connection: socket.socket) -> None:
        stream = connection.makefile("rb")
        while size := stream.read(4):
            request = stream.read(struct.unpack(">i", size)[0])
            kind, version, correlation = struct.unpack(">hhi", request[:8])
            (client_size,) = struct.unpack(">h", request[8:10])
            answer = self._answer(kind, version, request[10 + max(0, client_size) :])
            if answer is None:
                return
            connection.sendall(struct.pack(">ii", len(answer) + 4, correlation) + answer)

    def _answer(self, kind: int, version: int, body: bytes) -> bytes | None:
        if kind == 18:  # ApiVersions: of any version but 0 it says that it is not supported
            ranges = [(17, 0, 1), (18, 0, 0), (36, 0, 0)]
            return struct.pack(">hi", 35 if version else 0, len(ranges)) + b"".join(
                struct.pack(">hhh", *one) for one in ranges
            )
        if kind == 17:  # SaslHandshake
            self.mechanisms.append(body[2:].decode())
            return struct.pack(">hih", 0, 1, 11) + b"OAUTHBEARER"
        if kind == 36:  # SaslAuthenticate
            self.shown.append(body[4:])
            return struct.pack(">hhi", 0, -1, 0)
        return None


@pytest.fixture
def sasl_broker() -> Iterator[SaslBroker]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        broker = SaslBroker(f"127.0.0.1:{listener.getsockname()[1]}")
        thread = threading.Thread(target=broker.serve, args=[listener], daemon=True)
        thread.start()
        yield broker
        listener.shutdown(socket.SHUT_RDWR)


def test_a_broker_is_shown_the_token(sasl_broker: SaslBroker, tokens: list[str]) -> None:
    with pytest.raises(KafkaException):  # such a broker knows no topics
        KafkaSettings(sasl_broker.address, GOOGLE).admin().list_topics(timeout=3.0)
    assert sasl_broker.mechanisms[0] == "OAUTHBEARER"
    assert b"auth=Bearer header.claims.access" in sasl_broker.shown[0]
