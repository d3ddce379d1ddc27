"""Write docs/protocol/: an AsyncAPI 3.0 document and a JSON Schema for every message, from `edgekit_agent.protocol`.

`python docs/generate_protocol.py [FOLDER]`; the files are the same bytes each time.
"""

import json
import sys
from pathlib import Path
from typing import Any

from edgekit_agent import __version__
from edgekit_agent.protocol import BY_KIND, HOST, PREFIX, SENTENCES, Kind, Message

DIALECT = "https://json-schema.org/draft/2020-12/schema"

# kind -> (who sends, retained, QoS, what for)
FLOW: dict[Kind, tuple[str, bool, int, str]] = {
    Kind.STATE: ("device", True, 1, "Presence; also the device's last will."),
    Kind.INFO: ("device", True, 1, "What the device is; sent when it changes."),
    Kind.TELE: ("device", False, 1, "One report a window and model."),
    Kind.EVENT: ("device", False, 1, "Something that happened, with a reason code."),
    Kind.ACK: ("host", False, 0, "Up to which report everything is committed in the store."),
    Kind.DESIRED: ("host", True, 1, "What the host wants of the device, versioned."),
    Kind.REPORTED: ("device", True, 1, "What the device has of the desired state."),
    Kind.COMMAND: ("host", False, 1, "A one-off request."),
    Kind.RESULT: ("device", False, 1, "Progress or the result of a command."),
    Kind.OUTPUT: ("device", False, 1, "What a model says of one input, for models with a sink of kind mqtt."),
}
_PARAMETERS = {
    "site": {"description": "A group of devices, `[a-z0-9-]{3,64}`.", "default": "default"},
    "device": {"description": "The device's id, which is its MQTT client id, `[a-z0-9-]{3,64}`."},
    "id": {"description": "The command's id, `[A-Za-z0-9-]{1,64}`."},
    "model": {"description": "The model's name, 1 to 64 characters without `/`, `+` and `#`."},
}


def schema_of(message: type[Message]) -> dict[str, Any]:
    """Return a message's published schema."""
    return {"$schema": DIALECT, "$id": f"urn:edgekit:protocol:1:{message.__name__.lower()}", **message.json_schema()}


def _address(kind: Kind) -> tuple[str, list[str]]:
    last = {Kind.COMMAND: ["id"], Kind.RESULT: ["id"], Kind.OUTPUT: ["model"]}.get(kind, [])
    return "/".join([PREFIX, "{site}", "{device}", kind, *(f"{{{one}}}" for one in last)]), ["site", "device", *last]


def asyncapi() -> dict[str, Any]:
    """Return the AsyncAPI document, with operations as the device sees them."""
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    for kind, message in BY_KIND.items():
        sender, retained, qos, summary = FLOW[kind]
        address, names = _address(kind)
        name = message.__name__
        messages[name] = {
            "name": name,
            "contentType": "application/json",
            "summary": summary,
            "payload": {"$ref": f"./schemas/{kind}.schema.json"},
        }
        channels[kind.value] = {
            "address": address,
            "parameters": {one: _PARAMETERS[one] for one in names},
            "messages": {name: {"$ref": f"#/components/messages/{name}"}},
        }
        action = "send" if sender == "device" else "receive"
        operations[f"{action}-{kind}"] = {
            "action": action,
            "channel": {"$ref": f"#/channels/{kind}"},
            "summary": summary,
            "bindings": {"mqtt": {"qos": qos, "retain": retained, "bindingVersion": "0.2.0"}},
        }
    host = {
        "address": f"{PREFIX}/{{site}}/{HOST}/{Kind.STATE}",
        "parameters": {"site": _PARAMETERS["site"]},
        "messages": {"State": {"$ref": "#/components/messages/State"}},
    }
    operations["receive-host-state"] = {
        "action": "receive",
        "channel": {"$ref": "#/channels/host-state"},
        "summary": "Presence of the host; also its last will.",
        "bindings": {"mqtt": {"qos": 1, "retain": True, "bindingVersion": "0.2.0"}},
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "EdgeKit device protocol",
            "version": __version__,
            "description": "What a device and the host say over MQTT 5 or 3.1.1. Fields are only ever added.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {**channels, "host-state": host},
        "operations": operations,
        "components": {"messages": messages},
    }


def documents() -> dict[str, str]:
    """Return every generated file's content by its path under docs/protocol."""
    found = {"asyncapi.json": _text(asyncapi())}
    found |= {f"schemas/{kind}.schema.json": _text(schema_of(message)) for kind, message in BY_KIND.items()}
    found["reasons.json"] = _text({code.value: sentence for code, sentence in SENTENCES.items()})
    return found


def _text(value: object) -> str:
    return json.dumps(value, indent=2) + "\n"


def main() -> None:
    """Write the files."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "protocol"
    for name, text in documents().items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    print(f"{folder}: {len(documents())} files")


if __name__ == "__main__":
    main()
