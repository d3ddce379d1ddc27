"""X.509 by the `cryptography` package: what an authority signs. No files here."""

import datetime as dt
import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edgekit.fleet.security.roles import Role

AUTHORITY_DAYS = 3650
SKEW = dt.timedelta(hours=1)
# A device may have a clock that stood still while it was off; it must not find its broker "not yet valid".
BROKER_SKEW = dt.timedelta(days=30)
_DAY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """A certificate that signs others, and its key."""

    certificate: x509.Certificate
    key: EllipticCurvePrivateKey


def new_key() -> EllipticCurvePrivateKey:
    """Return a new P-256 key."""
    return generate_private_key(SECP256R1())


def new_authority(name: str, now: dt.datetime) -> Authority:
    """Return an authority that signs itself, and nothing but ends of chains."""
    key = new_key()
    subject = _name(f"EdgeKit {name}", None)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BROKER_SKEW)
        .not_valid_after(now + AUTHORITY_DAYS * _DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return Authority(certificate=builder.sign(key, SHA256()), key=key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A certificate to be made; `addresses` are what a broker is reached by."""

    role: Role
    common_name: str
    public_key: CertificatePublicKeyTypes
    lifetime: dt.timedelta
    addresses: Sequence[str] = ()


def sign(authority: Authority, wanted: Wanted, now: dt.datetime) -> x509.Certificate:
    """Return the certificate; it ends no later than its authority.

    Nothing of a signing request but its public key gets in: what it asks for beyond is not its to say.
    """
    broker = wanted.role is Role.BROKER
    usage = ExtendedKeyUsageOID.SERVER_AUTH if broker else ExtendedKeyUsageOID.CLIENT_AUTH
    end = min(now + wanted.lifetime, authority.certificate.not_valid_after_utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(wanted.common_name, wanted.role))
        .issuer_name(authority.certificate.subject)
        .public_key(wanted.public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - (BROKER_SKEW if broker else SKEW))
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(wanted.public_key), critical=False)
        .add_extension(_issuer(authority), critical=False)
    )
    if broker:
        builder = builder.add_extension(x509.SubjectAlternativeName(_addresses(wanted.addresses)), critical=False)
    return builder.sign(authority.key, SHA256())


def revocations(
    authority: Authority,
    revoked: Iterable[tuple[int, dt.datetime]],
    now: dt.datetime,
    last: x509.CertificateRevocationList | None,
) -> x509.CertificateRevocationList:
    """Return the list of revoked serial numbers and since when.

    OpenSSL keeps the lists it has and takes the one that was updated last, by whole seconds: so each says a later
    second than the one before. It is valid as long as its authority, because a list that runs out locks everybody out.
    """
    updated = now - dt.timedelta(minutes=1)
    number = 1
    if last is not None:
        updated = max(updated, last.last_update_utc + dt.timedelta(seconds=1))
        number = last.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number + 1
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(updated)
        .next_update(authority.certificate.not_valid_after_utc)
        .add_extension(_issuer(authority), critical=False)
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    for serial, since in revoked:
        one = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(since).build()
        builder = builder.add_revoked_certificate(one)
    return builder.sign(authority.key, SHA256())


def _name(common: str, role: Role | None) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common)]
    if role is not None:
        parts.insert(0, x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, role.value))
    return x509.Name(parts)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs, key_cert_sign=signs, crl_sign=signs, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _issuer(authority: Authority) -> x509.AuthorityKeyIdentifier:
    known = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(known)


def _addresses(texts: Sequence[str]) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = []
    for text in texts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(text)))
        except ValueError:
            names.append(x509.DNSName(text))
    return names
