"""The deployment documents: images have versions, no secret stands in them, ports are on loopback or speak TLS."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgekit.fleet.security.mosquitto import EXPORTS, READS, TAILED, WRITES

ROOT = Path(__file__).resolve().parents[4] / "docs" / "deploy"
FILES = sorted(ROOT.rglob("*.yaml"))
TLS_PORTS = {8883, 8884, 8650}
_VERSION = re.compile(r"v?\d+(\.\d+)+([-.][a-z0-9.]+)*")
_SECRET = re.compile(r"pass(word|wd)?|secret|token|cookie|api[-_]?key|private", re.IGNORECASE)


def _documents(path: Path) -> list[Any]:
    return [one for one in yaml.safe_load_all(path.read_text()) if one]


def _walk(node: Any, trail: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield trail, node
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in children:
        yield from _walk(value, (*trail, str(key)))


def _services() -> list[Any]:
    found = []
    for path in FILES:
        for document in _documents(path):
            if path.name == "compose.yaml":
                found += [
                    pytest.param(one, id=f"{path.parent.name}-{name}") for name, one in document["services"].items()
                ]
    return found


def _pods() -> list[Any]:
    return [
        pytest.param(document["spec"]["template"]["spec"], id=document["metadata"]["name"])
        for path in FILES
        for document in _documents(path)
        if document.get("kind") in {"Deployment", "StatefulSet", "DaemonSet", "Job"}
    ]


def test_there_are_files() -> None:
    assert len(FILES) >= 7
    assert len(_services()) >= 4
    assert len(_pods()) >= 2


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_says_that_it_was_not_tried(path: Path) -> None:
    assert path.read_text().startswith("# Not tried")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_images_have_versions_and_secrets_stand_elsewhere(path: Path) -> None:
    for document in _documents(path):
        for trail, node in _walk(document):
            name = trail[-1] if trail else ""
            if name == "image":
                tag = node["tag"] if isinstance(node, dict) else node.rpartition(":")[2]
                assert _VERSION.fullmatch(str(tag)), node
            if _SECRET.search(name) and isinstance(node, str):
                is_place = name.lower().endswith(("file", "name", "secretname")) or node.startswith(("/", "./"))
                assert is_place, f"{'.'.join(trail)} may hold a secret"
            if isinstance(node, str):
                assert not re.search(r"//[^/@\s]+:[^/@\s]+@", node), f"{'.'.join(trail)} holds a password"
            if isinstance(node, dict) and _SECRET.search(str(node.get("name", ""))) and "value" in node:
                raise AssertionError(f"{'.'.join(trail)}: the environment holds a secret")


@pytest.mark.parametrize("service", _services())
def test_containers_of_compose_are_closed_in(service: dict[str, Any]) -> None:
    for port in service.get("ports", []):
        parts = str(port).split(":")
        open_to_all = len(parts) < 3 or parts[0] not in {"127.0.0.1", "::1"}
        assert not open_to_all or int(parts[-1]) in TLS_PORTS, port
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert not service.get("privileged")
    assert service.get("network_mode") != "host"
    assert "private" not in str(service.get("volumes", []))  # the authorities' keys


@pytest.mark.parametrize("pod", _pods())
def test_pods_are_closed_in(pod: dict[str, Any]) -> None:
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not pod.get("hostNetwork")
    names = {one["name"] for one in pod["volumes"]}
    for container in pod["containers"]:
        assert container["resources"]["limits"].keys() == {"cpu", "memory"}
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert {one["containerPort"] for one in container["ports"]} <= TLS_PORTS
        mounted = {one["name"] for one in container["volumeMounts"]}
        assert mounted <= names | {"data"}  # a StatefulSet's claim
    for volume in pod["volumes"]:
        mode = volume.get("secret", {}).get("defaultMode", 0o400)
        assert mode & 0o007 == 0, volume


def test_only_one_main_process_runs() -> None:
    (deployment,) = [one for one in _documents(ROOT / "kubernetes" / "fleet.yaml") if one["kind"] == "Deployment"]
    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}


def test_what_the_load_balancer_opens_is_for_devices_only() -> None:
    for path in FILES:
        for document in _documents(path):
            if document.get("kind") == "Service" and document["spec"].get("type") in {"LoadBalancer", "NodePort"}:
                assert [port["port"] for port in document["spec"]["ports"]] == [8883]


def test_the_rules_for_emqx_are_those_for_mosquitto() -> None:
    lines = [
        line for line in (ROOT / "emqx" / "edgekit-acl.conf").read_text().splitlines() if not line.startswith("%%")
    ]
    assert lines[-1] == "{deny, all}."
    for way, kinds in (("publish", WRITES), ("subscribe", READS)):
        given = {
            topic
            for line in lines
            if line.startswith(f"{{allow, all, {way}, ")
            for topic in re.findall(r'"([^"]+)"', line)
        }
        wanted = {f"ek/1/default/${{username}}/{kind}{'/+' if kind in TAILED else ''}" for kind in kinds}
        assert given - {"ek/1/default/$host/state"} == wanted
    (host,) = [line for line in lines if "^host" in line]
    assert set(re.findall(r'"(\S+/#)"', host)) == {"ek/1/#", *EXPORTS}


def test_pages_say_what_was_tried() -> None:
    page = (ROOT / "README.md").read_text()
    for folder in ("compose", "kubernetes", "emqx", "hivemq", "victoriametrics"):
        rows = [line for line in page.splitlines() if line.startswith("|") and f"]({folder}/" in line]
        assert rows
        assert all("**no**" in row for row in rows)
