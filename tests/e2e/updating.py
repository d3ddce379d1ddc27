"""A publisher, and a device that takes its updates: what the tests of updates and the soak have in common."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgekit.repo import KeyFolder, NewRelease, Validity, add, init, publish
from edgekit_agent.bundle import Bounds
from tests.agent import bundle_maker

PASSPHRASE = b"a passphrase for tests"
TOPIC = "ek/1/default/edge-1/desired"


def script(**more: Any) -> str:
    """Return a model for the null runtime: an inference takes a millisecond."""
    return json.dumps({**bundle_maker.SCRIPT, "latency_ms": [1.0], **more})


@dataclass
class Publisher:
    """A repository with its keys, and the releases in it."""

    folder: Path
    counter: int = 0
    targets: dict[str, str] = field(default_factory=dict)
    _v: int = 0

    def __post_init__(self) -> None:
        """Make the repository."""
        self.folder.mkdir(parents=True, exist_ok=True)
        init(self.repository, self.keys, root=(1, 1), targets=(1, 1), validity=Validity(offline=365, online=14))

    @property
    def repository(self) -> Path:
        return self.folder / "repository"

    @property
    def keys(self) -> KeyFolder:
        return KeyFolder(self.folder / "keys", lambda _role: PASSPHRASE)

    def trusted_by(self, state: Path) -> None:
        """Pin the root of trust on a device."""
        (state / "trust").mkdir(parents=True, exist_ok=True)
        shutil.copy(self.repository / "metadata" / "1.root.json", state / "trust" / "root.json")

    def release(self, version: str, model: str | Path | None = None, **more: Any) -> str:
        """Bundle, sign and publish a version; a text is a script for the null runtime. Return its target.

        A script's golden vectors are made by one without faults.
        """
        self.counter += 1
        folder = self.folder / f"kws-{self.counter}"
        if isinstance(model, Path):
            bundle = bundle_maker.release(folder, model, "ai-edge-litert", version, self.counter, **more)
        else:
            faulty, sound = self.folder / "faulty.null", self.folder / "sound.null"
            faulty.write_text(model or script())
            sound.write_text(script())
            bundle = bundle_maker.release(folder, faulty, "null", version, self.counter, golden_of=sound, **more)
        return self.add(version, bundle)

    def add(self, version: str, bundle: Path, hardware: tuple[str, ...] = ()) -> str:
        """Sign and publish a bundle, whatever it holds."""
        new = NewRelease(name="kws", version=version, counter=self.counter or None, hardware=hardware)
        self.targets[version] = add(self.repository, bundle, self.keys, new).target
        publish(self.repository, self.keys)
        return self.targets[version]

    def desired(self, version: str, **more: Any) -> str:
        """Return the announcement of a version; each one is newer than the last."""
        self._v += 1
        model = {"name": "kws", "version": version, "target": self.targets.get(version), **more}
        body = {"v": self._v, "models": [{key: value for key, value in model.items() if value is not None}]}
        return json.dumps(body)


@dataclass
class Device:
    """An agent with its publisher, and who listens to it."""

    publisher: Publisher
    listener: Any
    start_agent: Callable[..., Any]
    toml: Callable[..., str]
    wait_for: Callable[..., Any]
    agent: Any = None

    def start(self, repository: str | None = None, **more: Any) -> None:
        """Callable[..., Any] it (again), with a model that is configured as version 1.2.0."""
        url = repository or self.publisher.repository.as_uri()
        update = {"trial_s": 1, "trial_inferences": 5, "trial_limit_s": 60, "reserve_mb": 0, **more}
        lines = "\n".join(f"{key} = {value}" for key, value in update.items())
        self.agent = self.start_agent(f'{self.toml()}\n[update]\nrepository = "{url}"\n{lines}\n')

    def announce(self, version: str, **more: Any) -> None:
        self.listener.client.publish(TOPIC, self.publisher.desired(version, **more), qos=1, retain=True)

    def phases(self, version: str) -> list[str]:
        """Return the phases that were reported of a version, each change once."""
        found: list[str] = []
        for one in self.listener.of("reported"):
            for model in one.body["models"]:
                if model["version"] == version and found[-1:] != [model["phase"]]:
                    found.append(model["phase"])
        return found

    def reported(self, version: str, phase: str) -> dict[str, Any]:
        """Wait until a version is reported to be in a phase, and return what is."""

        def look() -> dict[str, Any] | None:
            for one in self.listener.of("reported"):
                for model in one.body["models"]:
                    if (model["version"], model["phase"]) == (version, phase):
                        return dict(model)
            return None

        found: dict[str, Any] = self.wait_for(look, f"{version} {phase}")
        return found

    def serves(self, version: str) -> None:
        """Wait until it reports inferences of a version, and of no other."""
        before = len(self.listener.of("tele"))
        self.wait_for(
            lambda: [one.body["ver"] for one in self.listener.of("tele")[before:]][-2:] == [version] * 2,
            f"only {version} serves",
        )


SLOW = Bounds(p50_ms=0.0001)
"""Bounds that no inference keeps."""
