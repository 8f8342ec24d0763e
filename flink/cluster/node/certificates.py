"""The cluster's certificates: an authority of its own, valid for a month, whose keys never leave this machine."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_VALID = datetime.timedelta(days=30)
# Clocks of containers and of this machine are the same, but a certificate that starts now may be used at once.
_EARLIER = datetime.timedelta(minutes=5)


class Authority:
    """A certificate authority with its files in a folder.

    Args:
      folder: where the certificates and keys are written, as NAME.crt and NAME.key.
      name: the authority's name, also that of its files.
    """

    def __init__(self, folder: Path, name: str = "ca") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"beam-serving {name}")])
        usage = x509.BasicConstraints(ca=True, path_length=None)
        signed = _builder(self._subject, self._subject, self._key.public_key()).add_extension(usage, critical=True)
        # Without this, Python's own TLS refuses the authority.
        identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        self._certificate = signed.add_extension(identifier, critical=False).sign(self._key, hashes.SHA256())
        _write(folder, name, self._certificate, self._key)

    def issue(self, name: str, subject: str, *, organization: str = "", hosts: Sequence[str] = ()) -> None:
        """Writes a certificate and its key.

        Args:
          name: the name of the files.
          subject: the common name: for a client, the user.
          organization: for a client of Kubernetes, the group of the user.
          hosts: for a server, its names and numeric addresses.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)] if organization else []
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, subject))
        builder = _builder(x509.Name(attributes), self._subject, key.public_key())
        usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = builder.add_extension(usages, critical=False)
        if hosts:
            names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(identifier, critical=False)
        _write(self._folder, name, builder.sign(self._key, hashes.SHA256()), key)


def write_signing_key(path: Path) -> None:
    """Writes the key that signs the tokens of service accounts."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    _write_private(path, _pem(key))


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + _VALID)
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(folder: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    (folder / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    _write_private(folder / f"{name}.key", _pem(key))


def _write_private(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    return key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain)
