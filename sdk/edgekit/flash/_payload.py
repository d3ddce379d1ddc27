"""What goes on a device: files by their digests, the agent's configuration, and an id over all of it."""

import hashlib
import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.errors import DataError
from edgekit.flash import _agent_wheel
from edgekit.flash._artifact import Chosen
from edgekit.flash._device import DeviceFacts
from edgekit.fleet.security.secret_files import check_private
from edgekit_agent.fetch.trust import MAX_PINNED_BYTES
from edgekit_agent.protocol import check_name

PASSWORD_FILE = "@PREFIX@/secrets/broker.password"  # noqa: S105  # a place, not a password
KEY_FILE = "@PREFIX@/secrets/broker.key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the agent is told.

    `ca` is the authority that signed the broker's certificate, for mqtts; `cert` and `key` are the device's own.
    `repository` is the URL of the signed
    repository that updates come from, `root` its root metadata: what the device trusts from then on. `hardware` is
    what the device answers to where a bundle is for some hardware only.
    """

    broker: str
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    site: str = "default"
    username: str | None = None
    password: str | None = None
    rate_hz: float = 10.0
    threads: int = 1
    window_s: float = 10.0
    repository: str | None = None
    root: Path | None = None
    hardware: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """A manifest as the installer takes it, and each file's content by its digest."""

    manifest: dict[str, Any]
    contents: dict[str, tuple[str, bytes]]


def device_id(facts: DeviceFacts, wanted: str | None) -> str:
    """Return the device's id: the one wanted, the one it has, or a new one of its host name.

    Raises:
        ProtocolError: if the one wanted is not 3 to 64 characters of `[a-z0-9-]`.
    """
    if wanted is not None:
        return check_name(wanted, "device")
    if facts.device is not None:
        return check_name(facts.device, "device")
    slug = re.sub(r"[^a-z0-9]+", "-", facts.hostname.lower()).strip("-")[:48] or "device"
    return f"{slug}-{secrets.token_hex(2)}"


def build(chosen: Chosen, wheels: Sequence[Path], runtime: str, settings: Settings, device: str) -> Payload:
    """Return the payload; the same inputs give the same id.

    Raises:
        DataError: if the authority's certificate or the repository's root cannot be read.
    """
    contents: dict[str, tuple[str, bytes]] = {}
    files: list[dict[str, str]] = []

    def add(role: str, name: str, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        contents[digest] = (name, content)
        files.append({"role": role, "name": name, "sha256": digest})
        return digest

    packages = [add("wheel", _agent_wheel.NAME, _agent_wheel.agent_wheel())]
    packages += [add("wheel", wheel.name, wheel.read_bytes()) for wheel in wheels]
    if settings.root is not None:
        add("trust", "root.json", _root(settings.root))
    suffixes = [".xml", ".bin"] if chosen.format == "openvino" else [chosen.files[0].suffix.lower()]
    digests = [
        add("model", f"model{suffix}", file.read_bytes()) for suffix, file in zip(suffixes, chosen.files, strict=True)
    ]
    authority = add("ca", "broker-ca.pem", _certificate(settings.ca)) if settings.ca is not None else None
    own = add("cert", "broker-cert.pem", _certificate(settings.cert)) if settings.cert is not None else None
    manifest: dict[str, Any] = {
        "schema": 1,
        "device": device,
        "files": files,
        "environment": _id(packages),
        "configuration": "",
        "start": True,
    }
    version = digests[0][:12]
    model = _model(chosen, runtime, settings, version, suffixes[0])
    manifest["configuration"] = _configuration(model, settings, device, authority, own)
    manifest["id"] = _id([manifest, _fingerprint(device, settings.password)])
    manifest["configuration"] = manifest["configuration"].replace("@ID@", manifest["id"])
    if settings.password is not None:
        manifest["password"] = settings.password
    if settings.key is not None:
        manifest["key"] = private_key(settings.key)
    return Payload(manifest=manifest, contents=contents)


def _id(values: object) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:24]


def _fingerprint(device: str, password: str | None) -> str | None:
    """Tell passwords apart; slow, because the payload's id can be seen in the device's list of processes."""
    if password is None:
        return None
    return hashlib.scrypt(password.encode(), salt=device.encode(), n=2**14, r=8, p=1).hex()


def private_key(path: Path) -> str:
    """Return a device's key; its certificate, which is among the files, tells it apart from others."""
    check_private(path)
    return _certificate(path).decode("ascii", "replace")


def _certificate(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise DataError(f"'{path}' cannot be read: {exc.strerror}") from exc


def _root(path: Path) -> bytes:
    """Return the root metadata of a repository, looked at: a device that trusts nothing sound takes no updates."""
    from tuf.api.exceptions import RepositoryError
    from tuf.api.metadata import Metadata, Root

    try:
        content = path.read_bytes() if path.stat().st_size <= MAX_PINNED_BYTES else b""
        root = Metadata[Root].from_bytes(content)
        root.signed.verify_delegate(Root.type, root.signed_bytes, root.signatures)
    except OSError as exc:
        raise DataError(f"'{path}' cannot be read: {exc.strerror}") from exc
    except (RepositoryError, ValueError, TypeError, AttributeError) as exc:
        error = DataError(f"'{path}' is no root metadata of a repository")
        error.add_note("it is REPOSITORY/metadata/1.root.json, or the newest of that folder")
        raise error from exc
    return content


def _model(chosen: Chosen, runtime: str, settings: Settings, version: str, suffix: str) -> dict[str, Any]:
    place = f"@PREFIX@/payloads/@ID@/model/model{suffix}"
    return {
        "name": chosen.name,
        **({"bundle": place} if chosen.format == "bundle" else {"version": version, "path": place}),
        "runtime": runtime,
        "threads": settings.threads,
        "rate_hz": settings.rate_hz,
        "source": {"kind": "synthetic"},
    }


def _configuration(
    model: dict[str, Any], settings: Settings, device: str, authority: str | None, own: str | None
) -> str:
    import tomli_w

    broker: dict[str, Any] = {"url": settings.broker}
    if settings.username is not None:
        broker["username"] = settings.username
    if settings.password is not None:
        broker["password_file"] = PASSWORD_FILE
    if authority is not None:
        broker["ca"] = f"@PREFIX@/files/{authority}/broker-ca.pem"
    if own is not None:
        broker["cert"] = f"@PREFIX@/files/{own}/broker-cert.pem"
    if settings.key is not None:
        broker["key"] = KEY_FILE
    document = {
        "device": device,
        "site": settings.site,
        "state_dir": "@PREFIX@/state",
        "broker": broker,
        "telemetry": {"window_s": settings.window_s},
        "model": [model],
    }
    if settings.repository is not None:
        document["update"] = {"repository": settings.repository, "hardware": list(settings.hardware)}
    return tomli_w.dumps(document)
