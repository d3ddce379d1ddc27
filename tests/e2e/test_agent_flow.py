"""From a source to sinks through a real agent and a real broker."""

import json
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from PIL import Image

from tests.e2e.conftest import AgentProcess, BrokerProcess, Listener, wait_for

pytestmark = pytest.mark.slow

WANTED = 12


@pytest.fixture
def photos(shared_data: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Photos in folders named by their class, and the file of the classes."""
    source = shared_data / "imagenet250"
    names = (source / "imagenet_labels.txt").read_text().splitlines()
    with ZipFile(source / "images.zip") as archive:
        for entry in sorted(archive.namelist())[:WANTED]:
            folder = tmp_path / "photos" / names[1 + int(Path(entry).name.split("_")[0])].replace("/", " ")
            folder.mkdir(parents=True)
            (folder / "photo.jpg").write_bytes(archive.read(entry))
    return tmp_path / "photos", source / "imagenet_labels.txt"


def file_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.shared_data
def test_photos_are_classified_and_told_over_mqtt_and_in_a_file(  # noqa: PLR0913, PLR0917  # each a part of the whole
    shared_data: Path,
    photos: tuple[Path, Path],
    tmp_path: Path,
    broker: BrokerProcess,
    listen: Callable[..., Listener],
    start_agent: Callable[..., AgentProcess],
    agent_toml: Callable[..., str],
) -> None:
    folder, labels = photos
    (tmp_path / "handler.py").write_text("def handle(answer):\n    raise ValueError(answer['model'])\n")
    more = f"""
labels = "{labels}"
source = {{kind = "folder", path = "{folder}", loop = false}}
preprocess = {{mean = 128, std = 128}}
postprocess = {{kind = "classes", top = 3}}
sink = [
  {{kind = "mqtt", rate_hz = 1000}},
  {{kind = "file", path = "{tmp_path}/answers.jsonl"}},
  {{kind = "callback", function = "handler:handle", path = "{tmp_path}"}},
]
"""
    listener = listen(broker.port)
    model = shared_data / "imagenet250" / "mobilenet_v2_1.0_224_quant.tflite"
    agent = start_agent(agent_toml(broker.port, model=model, more=more, rate_hz=4))
    outputs = [one.body for one in listener.wait("kws", WANTED)]
    right = sorted(path.parent.name for path in folder.rglob("*.jpg"))
    found = [one["classes"][0]["label"] for one in outputs]
    # published: 71 of 100; measured on these photos: 90
    assert sum(one == wanted for one, wanted in zip(found, right, strict=True)) >= WANTED - 3
    assert all(len(one["classes"]) == 3 and one["ver"] == "1.2.0" for one in outputs)
    (topic,) = {one.topic for one in listener.of("kws")}
    assert topic == "ek/1/default/edge-1/out/kws"

    def reports() -> list[dict[str, Any]]:
        return [one.body for one in listener.of("tele")]

    wait_for(lambda: sum(one["stat"].get("labelled", 0) for one in reports()) == WANTED, "all samples are reported")
    sinks = [one["stat"].get("sinks", {}) for one in reports()]
    assert sum(one.get("mqtt", {}).get("taken", 0) for one in sinks) == WANTED
    assert sum(one.get("callback", {}).get("failed", 0) for one in sinks) == WANTED
    assert agent.stop() == 0
    assert file_lines(tmp_path / "answers.jsonl") == outputs


def _picture(gray: int) -> bytes:
    content = BytesIO()
    Image.new("RGB", (8, 6), (gray,) * 3).save(content, "JPEG")
    return content.getvalue()


def test_messages_of_a_topic_are_answered_also_after_the_broker_was_away(
    tmp_path: Path,
    broker: BrokerProcess,
    listen: Callable[..., Listener],
    start_agent: Callable[..., AgentProcess],
    agent_toml: Callable[..., str],
) -> None:
    script = tmp_path / "vision.null"
    image = {"name": "x", "shape": [1, 6, 8, 3], "dtype": "float32"}
    script.write_text(json.dumps({"inputs": [image], "outputs": [{"name": "y", "shape": [1, 2], "dtype": "float32"}]}))
    more = """
source = {kind = "mqtt", topic = "camera/+"}
sink = [{kind = "mqtt"}]
[telemetry]
settle_s = 0
"""
    text = agent_toml(broker.port, model=script, more=more.partition("[telemetry]")[0], rate_hz=0)
    listener = listen(broker.port)
    start_agent(text)
    listener.wait("event", code="model-ready")

    def answered(count: int) -> None:
        def ask() -> bool:
            listener.client.publish("camera/1", _picture(50), qos=1)
            time.sleep(0.1)
            return len(listener.of("kws")) >= count

        wait_for(ask, f"{count} answers")

    answered(2)
    listener.client.publish("camera/1", b"\xff\xd8\xff broken", qos=1)
    wait_for(lambda: any(one.body["err"].get("InputDataError") for one in listener.of("tele")), "an error counted")
    before = len(listener.of("kws"))
    broker.kill()
    broker.start()
    answered(before + 2)
    wait_for(lambda: any(one.body["err"].get("StreamError") for one in listener.of("tele")), "the loss counted")
