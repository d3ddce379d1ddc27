"""Both wheels: what is in them, the same bytes twice, and the agent's in an environment of its own."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def _build(project: Path, output: Path) -> Path:
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(output), str(project)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    (wheel,) = output.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def agent_wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _build(repository / "agent", tmp_path_factory.mktemp("agent"))


@pytest.fixture(scope="module")
def host_wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _build(repository, tmp_path_factory.mktemp("host"))


def _packages(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name.split("/")[0] for name in archive.namelist() if ".dist-info" not in name}


def test_the_agent_wheel_holds_the_agent_alone(agent_wheel: Path) -> None:
    assert _packages(agent_wheel) == {"edgekit_agent"}


def test_the_host_wheel_holds_all_three_and_the_device_lock(host_wheel: Path) -> None:
    assert _packages(host_wheel) == {"edgekit", "edgekit_agent", "edgekit_converters"}
    with zipfile.ZipFile(host_wheel) as archive:
        names = set(archive.namelist())
    shipped = ("report.html.j2", "report.css.j2", "charts.html.j2", "inspect.html.j2", "inspect.css", "inspect.js")
    pages = {f"edgekit/templates/{name}" for name in shipped}
    wanted = {"edgekit/flash/device.txt", "edgekit/py.typed"} | pages
    assert wanted <= names


def test_the_same_sources_give_the_same_bytes(repository: Path, agent_wheel: Path, tmp_path: Path) -> None:
    assert _build(repository / "agent", tmp_path).read_bytes() == agent_wheel.read_bytes()


def test_the_agent_starts_from_its_own_wheel_with_paho_alone(agent_wheel: Path, tmp_path: Path) -> None:
    import paho.mqtt

    site = tmp_path / "site"
    with zipfile.ZipFile(agent_wheel) as archive:
        archive.extractall(site)
    (site / "paho").symlink_to(Path(paho.mqtt.__file__).parents[1])
    answer = subprocess.run(
        [sys.executable, "-S", "-P", "-c", "from edgekit_agent.__main__ import main; main()", "--version"],
        env={"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert "0." in answer.stdout
