"""Two replicas of one TensorFlow Serving, started once for all tests of this folder."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.models.scorers.tensorflow_serving_replica import (
    Certificate,
    Replica,
    close,
    save_adder,
    save_kinds,
    save_named,
    start,
)


@pytest.fixture(scope="session")
def serving_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The SavedModels that the replicas serve, by NAME:VERSION."""
    folder = tmp_path_factory.mktemp("serving_models")
    return {
        "adder:1": save_adder(folder / "adder" / "1", 1),
        "adder:2": save_adder(folder / "adder" / "2", 2),
        "kinds:1": save_kinds(folder / "kinds"),
        "wine:1": save_named(folder / "wine", "predict"),
        "ambiguous:1": save_named(folder / "ambiguous", "single", "double"),
    }


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate of 127.0.0.1 and of models.example, which signs itself (made with the package cryptography)."""
    folder = tmp_path_factory.mktemp("certificate")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "models.example")])
    names: list[x509.GeneralName] = [
        x509.DNSName("models.example"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    now = datetime.datetime.now(datetime.timezone.utc)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = Certificate(folder / "certificate.pem", folder / "key.pem")
    files.certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    files.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


@pytest.fixture(scope="session")
def replica_pair(serving_models: dict[str, Path], certificate: Certificate) -> Iterator[tuple[Replica, Replica]]:
    """Two servers of the same models. Only the first has TLS; the second knows no metadata and no large batches."""
    labels = {"adder:stable": 1}
    with ExitStack() as stack:
        first = start(serving_models, labels, certificate=certificate)
        stack.callback(close, first)
        second = start(serving_models, labels, arguments=("--without-metadata", "--max-message-mib", "4"))
        stack.callback(close, second)
        first.wait_until_ready()
        second.wait_until_ready()
        yield first, second


@pytest.fixture
def replicas(replica_pair: tuple[Replica, Replica]) -> Iterator[tuple[Replica, Replica]]:
    """The two servers, neither slow nor failing before and after the test."""
    yield replica_pair
    for replica in replica_pair:
        replica.behave()
