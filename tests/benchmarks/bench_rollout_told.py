"""From the order to the last device told: `python -m tests.benchmarks.bench_rollout_told --devices 1000`.

The real `edgekit fleet serve` with everything it does, a real mosquitto, and simulated devices with connections of
their own, which report and beat as usual. All take a release in one wave; then an operator aborts the rollout, and the
clock runs until the old release is named to every device, and until every device says that it serves that again.
"""

import argparse
import json
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edgekit.fleet import FleetServer
from tests.benchmarks.bench_fleet_scale import Fleet, running
from tests.benchmarks.fleet_page import write_page

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks" / "fleet.md"
OLD, NEW, MODEL = "1.0.0", "2.0.0", "kws"
LIMIT_S = 300.0
HEARTBEAT_S = 10
AIM_S = 2.0


class Witness:
    """Hears what simulated devices are told and say, and when."""

    def __init__(self, port: int) -> None:
        """Connect."""
        self.told: dict[tuple[str, str], float] = {}
        self.serves: dict[tuple[str, str], float] = {}
        self.changed = threading.Condition()
        self.client = paho.Client(CallbackAPIVersion.VERSION2, "witness", protocol=paho.MQTTv5)
        self.client.on_message = self._message
        self.client.connect("127.0.0.1", port)
        self.client.subscribe([("ek/1/+/+/desired", 1), ("ek/1/+/+/reported", 1)])
        self.client.loop_start()

    def _message(self, _client: Any, _data: Any, message: Any) -> None:
        now = time.monotonic()
        _, _, _, device, kind = message.topic.split("/")
        if not device.startswith("sim-") or not message.payload:
            return
        with self.changed:
            for model in json.loads(message.payload)["models"]:
                if kind == "desired":
                    self.told.setdefault((device, model["version"]), now)
                elif model.get("phase") in {"committed", "rolled-back"}:
                    self.serves.setdefault((device, model.get("serving") or model["version"]), now)
            self.changed.notify_all()

    def wait(self, what: dict[tuple[str, str], float], version: str, count: int) -> list[float]:
        """Return when each device was told of a version, or said that it serves it."""
        with self.changed:
            if not self.changed.wait_for(lambda: sum(key[1] == version for key in what) >= count, LIMIT_S):
                raise SystemExit(f"{sum(key[1] == version for key in what)} of {count} devices in {LIMIT_S:g} s")
            return [at for key, at in what.items() if key[1] == version]

    def forget(self) -> None:
        """Begin anew."""
        with self.changed:
            self.told.clear()
            self.serves.clear()

    def close(self) -> None:
        """Disconnect."""
        self.client.disconnect()
        self.client.loop_stop()


def once(fleet: Fleet, devices: int, server: FleetServer, number: int) -> dict[str, float]:
    """Roll out to all, abort, and time it."""
    witness = Witness(fleet.port)
    try:
        wanted = {"model": MODEL, "version": NEW, "id": f"told-{number}", "filter": "device~sim-*", "canary": "0"}
        asked = {**wanted, "max_concurrent": devices, "bake_s": 3600.0}
        server.ask("POST", "/api/v1/rollouts", body=asked)
        witness.wait(witness.serves, NEW, devices)
        witness.forget()
        began = time.monotonic()
        server.ask("POST", f"/api/v1/rollouts/told-{number}/abort", body={"reason": "measured"})
        answered = time.monotonic() - began
        told = [at - began for at in witness.wait(witness.told, OLD, devices)]
        back = [at - began for at in witness.wait(witness.serves, OLD, devices)]
        while server.ask("GET", f"/api/v1/rollouts/told-{number}")["state"] != "rolled-back":
            time.sleep(0.2)
        return {"answered_s": answered, "first_s": min(told), "last_s": max(told), "all_back_s": max(back)}
    finally:
        witness.close()


def _online(server: FleetServer, count: int) -> None:
    end = time.monotonic() + LIMIT_S
    while sum(1 for _ in server.devices("state=online and device~sim-*")) < count:
        if time.monotonic() > end:
            raise SystemExit("the devices did not come up")
        time.sleep(1.0)


def main() -> None:
    """Print how long it took, and write the page if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="put the figures into docs/benchmarks/fleet.md")
    options = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), []) as fleet:
        broker = f"mqtt://127.0.0.1:{fleet.port}"
        plan = ["-n", str(options.devices), "--broker", broker, "--model", MODEL, "--version", OLD]
        fleet.start("simulate", "load.log", "-m", "edgekit.cli.main", "fleet", "simulate", *plan)
        _online(fleet.service.server, options.devices)
        for number in range(options.runs):
            found.append(once(fleet, options.devices, fleet.service.server, number))
            print({key: round(value, 2) for key, value in found[-1].items()}, flush=True)
    rows = [
        ("the order is answered", _spread([one["answered_s"] for one in found]), ""),
        ("the last device is told", _spread([one["last_s"] for one in found]), f"{AIM_S:g} s"),
        ("the last device says that it is back", _spread([one["all_back_s"] for one in found]), ""),
    ]
    for what, value, aim in rows:
        print(f"{what}: {value}" + (f" (aim {aim})" if aim else ""))
    if options.write:
        text = (
            f"{options.devices:,} simulated devices on the real service, {options.runs} rollouts to all of them that "
            "an operator aborts.\n\n"
            f"`python -m tests.benchmarks.bench_rollout_told --devices {options.devices} --write`"
        )
        write_page(PAGE, "A rollout that is aborted", text, rows)


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} s (median), {max(values):.2f} s at most"


if __name__ == "__main__":
    main()
