"""A fleet in a real store, as devices would have reported it: for tests, benchmarks and screenshots."""

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec import structs
from sqlalchemy import event

from edgekit.fleet.store import Arrived, DeviceKey, Store
from edgekit.fleet.wire import Event, Info, Report, State, decode, decode_report
from edgekit_agent.protocol import ExpHistogram, Kind

SITES = ("aachen", "bremen", "celle")
ROOMS = ("lab", "line-1", "line-2", "roof")
# board, architecture, how fast it is, temperature at rest
BOARDS = (
    ("Raspberry Pi 4", "aarch64", 1.0, 52.0),
    ("Raspberry Pi 5", "aarch64", 0.45, 58.0),
    ("Jetson Orin Nano", "aarch64", 0.3, 47.0),
    ("NUC 11", "x86_64", 0.22, 61.0),
)
MODELS = (("kws", ("1.2.0", "1.3.0"), 0.008), ("person-detect", ("2.0.1",), 0.041))
MINUTE_MS = 60_000


@dataclass(frozen=True)
class Made:
    """A device that was made up, and how it behaves."""

    key: DeviceKey
    number: int
    board: tuple[str, str, float, float]
    model: str
    version: str
    base_s: float

    @property
    def boot(self) -> str:
        return f"{self.number:08x}"


def unhurried(store: Store) -> None:
    """Do not wait for the disk: what a power cut would take is a test's."""
    if store.engine.dialect.name != "sqlite":
        return

    @event.listens_for(store.engine, "connect")
    def connected(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA synchronous=OFF")

    store.engine.dispose()


def devices(count: int) -> list[Made]:
    """Return that many devices, the same each time."""
    made = []
    for number in range(count):
        model, versions, base_s = MODELS[0 if number % 3 else 1]
        board = BOARDS[number % len(BOARDS)]
        key = DeviceKey(SITES[number % len(SITES)], f"cam-{number:05d}")
        version = versions[0] if number % 5 else versions[-1]
        made.append(Made(key, number, board, model, version, base_s * board[2] * (0.88 if version == "1.3.0" else 1.0)))
    return made


def introduce(store: Store, fleet: Iterable[Made], now_ms: int) -> None:
    """Let every device say that it is there and what it is."""
    for made in fleet:
        state = {"st": "online", "bd": 1, "boot": made.boot, "ts": now_ms, "agent": "0.1.0", "hb": 10.0}
        served = {"name": made.model, "ver": made.version, "art": f"sha256:{made.number % 7:064x}", "format": "tflite"}
        info = {
            "schema": 1, "agent": "0.1.0", "hardware": {"board": made.board[0], "arch": made.board[1], "cores": 4},
            "runtimes": {"ai-edge-litert": "2.3.0"}, "models": [{**served, "rt": "ai-edge-litert 2.3.0"}],
            "labels": {"room": ROOMS[made.number % len(ROOMS)], "rack": str(made.number // 40)},
        }  # fmt: skip
        raw = json.dumps(info).encode()
        said = decode(Kind.STATE, json.dumps(state).encode())
        described = decode(Kind.INFO, raw)
        assert isinstance(said, State)
        assert isinstance(described, Info)
        store.devices.put_state(made.key, said, now_ms)
        store.devices.put_info(made.key, described, raw, now_ms)
        store.devices.put_presence(made.key, "online", "birth", now_ms)


def report(made: Made, seq: int, at_ms: int, rng: random.Random, samples: int = 80) -> Arrived:
    """Return a report as one device would send it."""
    warm = 1.0 + 0.05 * ((at_ms // MINUTE_MS) % 30) / 30
    stages = {name: ExpHistogram() for name in ("pre", "infer", "post", "e2e")}
    for _ in range(samples):
        infer = made.base_s * warm * rng.lognormvariate(0, 0.09) * (rng.uniform(1.5, 2.6) if rng.random() < 0.02 else 1)
        for name, value in (("pre", infer * 0.1), ("infer", infer), ("post", infer * 0.04), ("e2e", infer * 1.15)):
            stages[name].add(value)
    body = {
        "schema": 1, "ts": at_ms, "boot": made.boot, "seq": seq, "model": made.model, "ver": made.version,
        "art": f"sha256:{made.number % 7:064x}", "rt": "ai-edge-litert 2.3.0", "exec": ["CPU"], "win_s": 10.0,
        "n": samples, "err": {"ModelError": 1} if rng.random() < 0.01 else {},
        "lat": {name: histogram.to_json() for name, histogram in stages.items()},
        "cpu": round(rng.uniform(20, 45), 1), "rss": int(rng.uniform(60, 64) * 2**20),
        "temp": round(made.board[3] + 6 * warm + rng.uniform(-1, 1), 1), "thr": 0,
    }  # fmt: skip
    return Arrived(*made.key, at_ms, decode_report(json.dumps(body).encode()))


def history(store: Store, fleet: Sequence[Made], times_ms: Sequence[int], samples: int = 24) -> None:
    """Let the devices have reported at those times, a minute apart."""
    rng = random.Random(7)  # noqa: S311 - made-up figures
    for at_ms in times_ms:
        store.reports.add([report(made, at_ms // MINUTE_MS, at_ms, rng, samples) for made in fleet])


def happen(store: Store, made: Made, now_ms: int, code: str, text: str) -> None:
    """Let a device tell of an event."""
    body = {"ts": now_ms, "lvl": "warning", "code": code, "msg": text, "model": made.model}
    told = decode(Kind.EVENT, json.dumps(body).encode())
    assert isinstance(told, Event)
    store.events.add(made.key, told, now_ms)


def again(made: Made, like: Report, seq: int, at_ms: int) -> Arrived:
    """Return a report of a device with the figures of another one, which costs less than new ones."""
    report = structs.replace(like, ts_ms=at_ms, boot=made.boot, seq=seq, model=made.model, version=made.version)
    return Arrived(*made.key, at_ms, report)
