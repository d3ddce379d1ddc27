"""Private keys in files (0600), and the public key of a signing request."""

from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from edgekit.errors import DataError, EnvironmentMissingError, UsageError
from edgekit.fleet.security.secret_files import check_private
from edgekit_agent.durable import write_durably

LEAST_PASSPHRASE = 8
MAX_PEM_BYTES = 16 << 10
LEAST_RSA_BITS = 2048
_CURVES = ("secp256r1", "secp384r1")


def write(path: Path, key: EllipticCurvePrivateKey, passphrase: bytes | None) -> None:
    """Write a key for its owner only; without a passphrase as it is, because a service that starts cannot ask.

    Raises:
        UsageError: if the passphrase is too short.
    """
    if passphrase is not None and len(passphrase) < LEAST_PASSPHRASE:
        raise UsageError(f"the passphrase of the authorities has fewer than {LEAST_PASSPHRASE} characters")
    how: KeySerializationEncryption = NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase)
    write_durably(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how), mode=0o600)


def load(path: Path, passphrase: bytes) -> EllipticCurvePrivateKey:
    """Return an authority's key.

    Raises:
        EnvironmentMissingError: if it is not here.
        DataError: if the passphrase does not open it, or others can read it.
    """
    if not path.exists():
        error = EnvironmentMissingError(f"the authority's key '{path}' is not here")
        error.add_note("signing and revoking are done where the keys are; copy what was made to the broker")
        raise error
    check_private(path)
    try:
        key = load_pem_private_key(path.read_bytes()[:MAX_PEM_BYTES], passphrase)
    except (ValueError, TypeError) as exc:
        raise DataError(f"'{path}' is no key file, or the passphrase does not open it") from exc
    if not isinstance(key, EllipticCurvePrivateKey):
        raise DataError(f"'{path}' is of another kind than ours")
    return key


def requested(csr: bytes, common: str) -> CertificatePublicKeyTypes:
    """Return the public key of a signing request in PEM.

    Raises:
        DataError: if it is broken, not signed by its key, of a weak key, or for somebody else.
    """
    if len(csr) > MAX_PEM_BYTES:
        raise DataError(f"the signing request is larger than {MAX_PEM_BYTES} bytes")
    try:
        request = x509.load_pem_x509_csr(csr)
        sound = request.is_signature_valid
        key = request.public_key()
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as exc:
        raise DataError("the signing request cannot be read: it is not PEM of PKCS #10") from exc
    if not sound:
        raise DataError("the signing request is not signed by the key it names")
    names = [str(one.value) for one in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if names not in ([], [common]):
        raise DataError(f"the signing request is for '{names[0][:80]}', not for '{common}'")
    strong = (
        (isinstance(key, EllipticCurvePublicKey) and key.curve.name in _CURVES)
        or (isinstance(key, RSAPublicKey) and key.key_size >= LEAST_RSA_BITS)
        or isinstance(key, Ed25519PublicKey)
    )
    if not strong:
        raise DataError("the signing request's key is none of: P-256, P-384, Ed25519, RSA of 2048 bits or more")
    assert isinstance(key, EllipticCurvePublicKey | RSAPublicKey | Ed25519PublicKey)  # noqa: S101  # seen above
    return key
