"""A certificate authority of this installation, and what it signs for the services of one machine.

The CA's key never leaves the secrets folder; clients trust `ca.pem` explicitly (verify=...), the system's trust store
is left alone. A certificate is made anew when it nears its end, lacks a name, or is not by this CA.
"""

import datetime as dt
import ipaddress
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import certifi
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
CA_DAYS = 3650
SERVER_DAYS = 397  # what browsers accept at most
RENEW_BEFORE = dt.timedelta(days=30)


@dataclass(frozen=True)
class Certificate:
    """Files of a chain (PEM) and its key (PEM, 0600)."""

    chain: Path
    key: Path


def write_private(path: Path, data: bytes) -> None:
    """Write a file only its owner reads, whole or not at all."""
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(data)
    temporary.replace(path)


def trust(folder: Path, also: Path) -> None:
    """Write a bundle to `also`: the public authorities and this installation's."""
    bundle = Path(certifi.where()).read_bytes() + authority(folder).chain.read_bytes()
    if not also.exists() or also.read_bytes() != bundle:
        write_private(also, bundle)


def authority(folder: Path) -> Certificate:
    """The CA in `folder` (ca.pem, ca.key), made at the first call."""
    files = Certificate(folder / "ca.pem", folder / "ca.key")
    if files.chain.exists() and files.key.exists():
        return files
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Smart Fitness local CA")])
    usage = _usage(key_cert_sign=True, crl_sign=True)
    builder = (
        _builder(name, key.public_key(), CA_DAYS)
        .issuer_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    write_private(files.key, _pem(key))
    files.chain.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return files


def server(folder: Path, name: str, names: Iterable[str] = LOCAL_NAMES, client: bool = False) -> Certificate:
    """Certificate `name` for the host names and addresses `names`, signed by the CA of `folder`.

    client: good for showing to servers as well (mTLS).
    """
    ca = authority(folder)
    issuer = x509.load_pem_x509_certificate(ca.chain.read_bytes())
    files = Certificate(folder / f"{name}.pem", folder / f"{name}.key")
    wanted = tuple(dict.fromkeys(names))
    if files.key.exists() and files.chain.exists() and _is_good(files.chain, issuer, wanted):
        return files
    signer = serialization.load_pem_private_key(ca.key.read_bytes(), password=None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{ca.key} is not an elliptic-curve key")
    key = ec.generate_private_key(ec.SECP256R1())
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, *([ExtendedKeyUsageOID.CLIENT_AUTH] if client else [])]
    builder = (
        _builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key.public_key(), SERVER_DAYS)
        .issuer_name(issuer.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([_general_name(item) for item in wanted]), critical=False)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), critical=False)  # type: ignore[arg-type]
    )
    chain = builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    write_private(files.key, _pem(key))
    # Moved into place, which is what watchers of the folder wait for.
    write_private(files.chain, chain)
    return files


def _is_good(chain: Path, issuer: x509.Certificate, wanted: tuple[str, ...]) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(chain.read_bytes())
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    held = {str(name.value) for name in names}
    fresh = certificate.not_valid_after_utc - RENEW_BEFORE > dt.datetime.now(dt.UTC)
    return fresh and {str(_general_name(item).value) for item in wanted} <= held


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(name: x509.Name, key: ec.EllipticCurvePublicKey, days: int) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))  # clocks of other machines differ
        .not_valid_after(now + dt.timedelta(days=days))
    )


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
