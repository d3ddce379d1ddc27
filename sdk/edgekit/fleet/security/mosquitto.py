"""The configuration and the access rules of mosquitto, written from the folder of authorities."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from edgekit.errors import EnvironmentMissingError
from edgekit.fleet.security.records import Record
from edgekit.fleet.security.roles import Role
from edgekit_agent.protocol import HOST, MAX_MESSAGE_BYTES, PREFIX, Kind

WRITES = (Kind.STATE, Kind.INFO, Kind.TELE, Kind.EVENT, Kind.REPORTED, Kind.RESULT, Kind.OUTPUT)
"""What a device says of itself."""
READS = (Kind.DESIRED, Kind.COMMAND, Kind.ACK)
"""What it is told."""
TAILED = (Kind.COMMAND, Kind.RESULT, Kind.OUTPUT)
EXPORTS = ("ek/alerts/#", "homeassistant/#", "spBv1.0/#")
"""What the service publishes for others."""
PACKET_BYTES = MAX_MESSAGE_BYTES + 4096  # a topic and its properties beside the payload
DEVICE_PORT, SERVICE_PORT = 8883, 8884
_VERSION = re.compile(r"mosquitto version (\d+)\.(\d+)")
_PLUGIN = "mosquitto_acl_file.so"
_PLUGIN_FOLDERS = ("/usr/lib", "/usr/lib64", "/usr/local/lib")
PLUGIN_VERSION = (2, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """Where the broker listens: devices from the network, services (the fleet service, operators) apart."""

    address: str = "127.0.0.1"
    port: int = DEVICE_PORT
    service_address: str = "127.0.0.1"
    service_port: int = SERVICE_PORT
    connections: int = 20_000


def version(executable: str) -> tuple[int, int]:
    """Return a mosquitto's version.

    Raises:
        EnvironmentMissingError: if it does not say one.
    """
    try:
        said = subprocess.run([executable, "-h"], capture_output=True, text=True, check=False, timeout=20).stdout
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise EnvironmentMissingError(f"'{executable}' does not start: {exc}") from exc
    found = _VERSION.search(said)
    if not found:
        raise EnvironmentMissingError(f"'{executable}' does not say which mosquitto it is")
    return int(found[1]), int(found[2])


def plugin(executable: str) -> Path | None:
    """Return the plugin that reads access rules, where this mosquitto came with it (2.1 and newer)."""
    near = Path(executable).resolve().parent.parent
    for folder in (near / "lib", near / "lib64", *map(Path, _PLUGIN_FOLDERS)):
        for found in sorted({*folder.glob(_PLUGIN), *folder.glob(f"*/{_PLUGIN}"), *folder.glob(f"*/*/{_PLUGIN}")}):
            return found
    return None


def access_rules(records: list[Record], sites: list[str], now_ms: int) -> str:
    """Return the rules: what is not allowed here is not.

    Devices are matched by pattern, so a new one needs no new rule; sites are named, so that no device can fill the
    fleet with sites of its own. Names all of whose certificates are revoked are denied by name: the list of revoked
    certificates is looked at when a connection begins, these rules at every message of one that stands.
    """
    lines = ["# written by EdgeKit; changes are lost", ""]
    current = [one for one in records if one.counts(now_ms)]
    for name in sorted({one.common_name for one in current if one.role == Role.HOST}):
        lines += [f"user {name}", f"topic readwrite {PREFIX}/#", *(f"topic readwrite {one}" for one in EXPORTS)]
        lines += ["topic read $SYS/#", ""]
    for name in sorted({one.common_name for one in current if one.role == Role.OPERATOR}):
        lines += [f"user {name}", f"topic read {PREFIX}/#", "topic read ek/alerts/#", ""]
    gone = {one.common_name for one in records if one.revoked_ms is not None and one.role == Role.DEVICE}
    for name in sorted(gone - {one.common_name for one in current}):
        lines += [f"user {name}", "topic deny #", ""]
    for site in sites:
        lines += [f"pattern write {PREFIX}/{site}/%u/{_tail(kind)}" for kind in WRITES]
        lines += [f"pattern read {PREFIX}/{site}/%u/{_tail(kind)}" for kind in READS]
        # a pattern without %u is how mosquitto spells "everybody"; it warns once and means it
        lines += [f"pattern read {PREFIX}/{site}/{HOST}/{Kind.STATE}", ""]
    return "\n".join(lines)


def _tail(kind: Kind) -> str:
    return f"{kind}/+" if kind in TAILED else str(kind)


def configuration(folder: Path, listening: Listening, acl_plugin: Path | None, user: str | None) -> str:
    """Return the configuration of a broker whose certificates are in `folder`.

    No `per_listener_settings`: 2.1 warns of it. Each listener trusts one authority only, so a device's certificate
    does not open the services' listener, where a client may take any client id.

    Args:
        folder: the folder of authorities.
        listening: addresses and ports.
        acl_plugin: what reads the rules in 2.1 and newer; None is the option of 2.0.
        user: whom mosquitto becomes when it is started as root.
    """
    rules = folder / "broker" / "acl"
    acl = f"acl_file {rules}" if acl_plugin is None else f"global_plugin {acl_plugin}\nplugin_opt_acl_file {rules}"
    data = folder / "broker" / "data"
    return f"""\
# written by EdgeKit; changes are lost
allow_anonymous false
{acl}
{f"user {user}" if user else "# runs as who started it"}

persistence true
persistence_location {data}/
autosave_interval 5
persistent_client_expiration 14d

max_packet_size {PACKET_BYTES}
max_inflight_messages 100
max_queued_messages 100000
max_keepalive 600
queue_qos0_messages false
set_tcp_nodelay true
sys_interval 10

log_dest stderr
log_type error
log_type warning
log_type notice
log_type information
log_timestamp_format %Y-%m-%dT%H:%M:%S
connection_messages true

# devices: the client id is the certificate's name, so none can throw another off
listener {listening.port} {listening.address}
{_tls(folder, "devices")}
use_username_as_clientid true
max_connections {listening.connections}
max_topic_alias 10

# the fleet service and operators
listener {listening.service_port} {listening.service_address}
{_tls(folder, "services")}
max_connections 100
"""


def _tls(folder: Path, authority: str) -> str:
    return f"""\
cafile {folder}/ca/{authority}.pem
crlfile {folder}/crl/{authority}.pem
certfile {folder}/broker/cert.pem
keyfile {folder}/broker/key.pem
tls_version tlsv1.2
require_certificate true
use_identity_as_username true"""
