"""What a device is, read from files the kernel would give."""

from pathlib import Path

import pytest

from edgekit_agent import probe


def _write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """A small ARM board with an NPU, a GPU and a thermal zone."""
    _write(
        tmp_path,
        {
            "proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd asimddp\nHardware\t: Board SoC\n",
            "proc/meminfo": "MemTotal:        1024 kB\nMemFree: 1 kB\n",
            "proc/device-tree/model": "Example Board v1\0",
            "etc/os-release": 'NAME="X"\nPRETTY_NAME="Debian 12"\n',
            "dev/apex_0": "",
            "dev/dri/renderD128": "",
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
            "sys/class/thermal/thermal_zone0/temp": "45000\n",
            "sys/class/thermal/thermal_zone1/type": "broken\n",
        },
    )
    return tmp_path


def test_reads_a_board(board: Path) -> None:
    found = probe.hardware(board)
    assert found["board"] == "Example Board v1"
    assert found["cpu"] == "Board SoC"
    assert found["flags"] == ["asimd", "asimddp"]
    assert found["memory_bytes"] == 1024 * 1024
    assert found["os"] == "Debian 12"
    assert found["accelerators"] == ["/dev/apex_0", "/dev/dri/renderD128"]
    assert found["thermal_zones"] == ["cpu-thermal"]


def test_reads_a_personal_computer(tmp_path: Path) -> None:
    _write(
        tmp_path,
        {
            "proc/cpuinfo": "model name\t: Example CPU\nflags\t\t: sse avx2 avx512_vnni\n",
            "sys/class/dmi/id/product_name": "Machine 7\n",
        },
    )
    found = probe.hardware(tmp_path)
    assert (found["cpu"], found["board"]) == ("Example CPU", "Machine 7")
    assert found["flags"] == ["avx2", "avx512_vnni"]


@pytest.mark.parametrize("meminfo", ["", "MemTotal:\n", "MemTotal: many kB\n"], ids=["none", "empty", "text"])
def test_a_bare_or_odd_system_is_no_crash(tmp_path: Path, meminfo: str) -> None:
    _write(tmp_path, {"proc/meminfo": meminfo})
    found = probe.hardware(tmp_path)
    assert (found["memory_bytes"], found["accelerators"], found["board"]) == (0, [], "")


@pytest.mark.slow
def test_asks_each_installed_runtime_in_a_child() -> None:
    found = probe.probe()
    assert set(found) == {"agent", "hardware", "runtimes"}
    assert found["runtimes"]
    for name, state in found["runtimes"].items():
        assert state["ok"] or state["reason"], name
        assert not state["ok"] or "CPU" in state["devices"]


@pytest.mark.slow
def test_a_runtime_that_is_not_there_is_told_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "DISTRIBUTIONS", ("numpy",))
    (state,) = probe.probe()["runtimes"].values()
    assert not state["ok"]
    assert "there is no runtime 'numpy'" in state["reason"]
