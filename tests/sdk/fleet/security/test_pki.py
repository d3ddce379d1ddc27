"""What authorities sign, revoke and refuse."""

import datetime as dt
import os
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edgekit.errors import DataError, EnvironmentMissingError, UsageError
from edgekit.fleet.security import Pki, Role, common_name, read_secret
from edgekit.fleet.security.mosquitto import READS, WRITES, Listening, access_rules, configuration
from edgekit.fleet.security.records import Records
from edgekit.fleet.security.roles import role_of
from edgekit_agent.protocol import Kind
from tests.sdk.fleet.security.conftest import passphrase


def _csr(name: str | None, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None) -> bytes:
    parts = [] if name is None else [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(parts))
    # more than is given: a request is not what decides
    request = request.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return request.sign(key or ec.generate_private_key(ec.SECP256R1()), SHA256()).public_bytes(Encoding.PEM)


def _loaded(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_a_device_gets_a_certificate_of_its_name_and_a_key_of_its_own(pki: Pki) -> None:
    made = pki.enroll("pi-7", site="lab")
    found = _loaded(made.certificate)
    assert made.key is not None
    assert made.key.stat().st_mode & 0o777 == 0o600
    assert [one.value for one in found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["pi-7"]
    usage = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    found.verify_directly_issued_by(_loaded(pki.folder / "ca" / "devices.pem"))
    assert made.ca.read_bytes() == (pki.folder / "ca" / "services.pem").read_bytes()
    ssl.create_default_context(cafile=made.ca).load_cert_chain(made.certificate, made.key)
    assert pki.sites() == ["default", "lab"]


def test_services_are_signed_by_another_authority_than_devices(pki: Pki) -> None:
    for folder in (pki.folder / "hosts" / "main", pki.folder / "broker"):
        _loaded(folder / "cert.pem").verify_directly_issued_by(_loaded(pki.folder / "ca" / "services.pem"))
    names = _loaded(pki.folder / "broker" / "cert.pem").extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.value.get_values_for_type(x509.DNSName) == ["localhost"]


def test_no_device_can_have_the_name_of_a_service() -> None:
    assert common_name(Role.HOST, "main") == "host.main"
    for name in ("host.main", "operator.alice", "ab", "UPPER", "a/b", "a+b", "dev#1", "$host"):
        with pytest.raises(UsageError):
            common_name(Role.DEVICE, name)
    with pytest.raises(UsageError):
        role_of("root.main")
    assert role_of("pi-7") == (Role.DEVICE, "pi-7")


def test_a_signing_request_gives_its_key_and_nothing_else(pki: Pki) -> None:
    pki.enroll("pi-9")
    made = pki.enroll("pi-9", csr=_csr("pi-9"), renew=True)
    found = _loaded(made.certificate)
    assert made.key is None
    assert not (made.certificate.parent / "key.pem").exists()  # the earlier one's
    assert not found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert pki.enroll("pi-10", csr=_csr(None)).common_name == "pi-10"


@pytest.mark.parametrize(
    ("csr", "says"),
    [
        (b"not a request", "cannot be read"),
        (b"x" * 20_000, "larger"),
        (_csr("pi-8"), "is for 'pi-8'"),
        (_csr("pi-9", rsa.generate_private_key(65537, 1024)), "is none of"),  # noqa: S505  # that is the point
    ],
)
def test_broken_requests_are_refused(pki: Pki, csr: bytes, says: str) -> None:
    with pytest.raises(DataError, match=says):
        pki.enroll("pi-9", csr=csr)
    assert [one.common_name for one in pki.records()] == ["broker.main", "host.main"]


def test_a_second_certificate_needs_to_be_asked_for(pki: Pki) -> None:
    pki.enroll("pi-7")
    with pytest.raises(UsageError, match="valid until"):
        pki.enroll("pi-7")
    pki.enroll("pi-7", renew=True)
    assert len([one for one in pki.records() if one.common_name == "pi-7"]) == 2


def test_revoking_takes_all_certificates_and_the_lists_grow_in_time(pki: Pki) -> None:
    for name in ("pi-7", "pi-8"):
        pki.enroll(name)
    pki.enroll("pi-7", renew=True)
    path = pki.folder / "crl" / "devices.pem"
    before = x509.load_pem_x509_crl(path.read_bytes())
    assert len(pki.revoke("pi-7")) == 2
    between = x509.load_pem_x509_crl(path.read_bytes())
    pki.revoke("pi-8")
    after = x509.load_pem_x509_crl(path.read_bytes())
    assert [len(one) for one in (before, between, after)] == [0, 2, 3]
    assert before.last_update_utc < between.last_update_utc < after.last_update_utc
    assert after.last_update_utc < dt.datetime.now(dt.UTC)
    with pytest.raises(UsageError, match="no certificate that counts"):
        pki.revoke("pi-7")
    pki.enroll("pi-7")  # and it may come back


def test_keys_elsewhere_or_open_to_others_are_said(pki: Pki) -> None:
    key = pki.folder / "private" / "devices.pem"
    key.chmod(0o640)
    with pytest.raises(DataError, match="read by others"):
        pki.enroll("pi-7")
    key.chmod(0o600)
    with pytest.raises(DataError, match="does not open"):
        Pki(pki.folder, lambda _name: b"wrong horse").enroll("pi-7")
    key.unlink()
    with pytest.raises(EnvironmentMissingError, match="is not here"):
        pki.enroll("pi-7")


def test_a_folder_in_use_or_a_short_passphrase_is_refused(pki: Pki, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not empty"):
        Pki.create(pki.folder, passphrase, names=["x"])
    with pytest.raises(UsageError, match="fewer than 8"):
        Pki.create(tmp_path / "other", lambda _name: b"short", names=["x"])


def test_a_line_cut_off_by_a_crash_is_left_out_and_nothing_after_it_is_lost(tmp_path: Path) -> None:
    records = Records(tmp_path / "issued.jsonl")
    line = {
        "do": "issue", "serial": "a1", "common_name": "pi-7", "role": "device", "site": "default", "issued_ms": 1,
        "until_ms": 2,
    }  # fmt: skip
    records.add([line])
    with records.path.open("a") as file:
        file.write('{"do": "issue", "serial": "a2", "comm')
    records.add([{**line, "serial": "a3"}])
    assert [one.serial for one in records.all()] == ["a1", "a3"]
    with records.path.open("a") as file:
        file.write("{}\n")
    with pytest.raises(DataError, match="line"):
        records.all()


def test_the_rules_name_sites_and_deny_who_was_revoked(pki: Pki) -> None:
    pki.enroll("pi-7", site="lab")
    pki.enroll("pi-8")
    pki.issue(Role.OPERATOR, "alice")
    pki.revoke("pi-7")
    rules = access_rules(pki.records(), pki.sites(), 0).splitlines()
    assert "pattern write ek/1/lab/%u/tele" in rules
    assert "pattern read ek/1/default/%u/cmd/+" in rules
    assert not any("+/%u" in line or "%u/#" in line for line in rules)
    assert rules[rules.index("user pi-7") + 1] == "topic deny #"
    assert "user pi-8" not in rules
    assert rules[rules.index("user operator.alice") + 1] == "topic read ek/1/#"
    pki.enroll("pi-7", site="lab")
    assert "user pi-7" not in access_rules(pki.records(), pki.sites(), 0)


def test_every_kind_of_topic_has_a_direction() -> None:
    assert sorted(WRITES + READS) == sorted(Kind)


def test_the_configuration_of_2_1_uses_the_plugin(tmp_path: Path) -> None:
    old = configuration(tmp_path, Listening(), None, None)
    new = configuration(tmp_path, Listening(), Path("/usr/lib/mosquitto_acl_file.so"), None)
    assert f"\nacl_file {tmp_path}/broker/acl\n" in old
    assert "plugin_opt_acl_file" not in old
    assert "\nglobal_plugin /usr/lib/mosquitto_acl_file.so\nplugin_opt_acl_file " in new
    assert "\nacl_file" not in new
    for text in (old, new):
        assert "per_listener_settings" not in text
        assert text.count("require_certificate true") == text.count("\nlistener ") == 2


def test_secrets_come_from_files_of_their_owner(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("s3cret\n")
    os.chmod(file, 0o644)  # noqa: PTH101
    with pytest.raises(DataError, match="read by others"):
        read_secret(file)
    file.chmod(0o600)
    assert read_secret(file) == "s3cret"
    file.write_text("")
    with pytest.raises(DataError, match="empty"):
        read_secret(file)
    with pytest.raises(DataError, match="cannot read"):
        read_secret(tmp_path / "none")
