"""The fleet's service as it ships: `edgekit fleet serve` in a process of its own, which may be killed and come back."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil

from edgekit.fleet import _brokers as brokers
from edgekit.fleet.remote import FleetServer
from edgekit.fleet.store import Store, open_store

READY_S, END_S = 120.0, 60.0


class ServedFleet:
    """`edgekit fleet serve` over a folder of its own, on one port for all its lives.

    `store` is the same database, read from here; `server` asks it over its API as an admin.
    """

    def __init__(self, folder: Path, broker: str, *options: str) -> None:
        """Serve until `stop`, and wait until it answers."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.url = f"http://127.0.0.1:{brokers.free_port()}"
        self.store_url = (
            options[options.index("--store") + 1] if "--store" in options else f"sqlite:///{folder}/fleet.db"
        )
        where = ("--broker", broker, "--data", str(folder), "--listen", self.url.removeprefix("http://"))
        self._command = [sys.executable, "-m", "edgekit.cli.main", "fleet", "serve", "--json", *where, *options]
        self.start()
        self.ready()
        self.well()

    def start(self) -> None:
        """Start a process; it is not ready yet."""
        with (self.folder / "told.json").open("wb") as told, (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=told, stderr=log, start_new_session=True
            )

    def ready(self) -> dict[str, Any]:
        """Wait until it runs; return what it says of itself."""
        end = time.monotonic() + READY_S
        while time.monotonic() < end:
            if (text := (self.folder / "told.json").read_text()).endswith("\n"):
                return dict(json.loads(text))
            assert self.process.poll() is None, f"the service ended: {self.log}"
            time.sleep(0.02)
        raise AssertionError(f"the service is not ready after {READY_S:g} s: {self.log}")

    def well(self) -> None:
        """Wait until nothing is wrong with it: what devices say once is said to nobody before."""
        end = time.monotonic() + READY_S
        while self.server.ask("GET", "/healthz")["status"] != "ok":
            assert time.monotonic() < end, f"the service is not well after {READY_S:g} s: {self.log}"
            time.sleep(0.05)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-4000:]

    @cached_property
    def token(self) -> str:
        return (self.folder / "token").read_text().strip()

    @cached_property
    def store(self) -> Store:
        return open_store(self.store_url)

    @cached_property
    def server(self) -> FleetServer:
        return FleetServer(self.url, token=self.token)

    # --- its end

    def ingests(self) -> list[psutil.Process]:
        """Return the processes that store reports."""
        found = []
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.process.pid).children():
                with contextlib.suppress(psutil.NoSuchProcess):
                    found += [child] if "edgekit.fleet.ingest" in child.cmdline() else []
        return found

    def kill(self) -> None:
        """End it and all its processes at once, without a chance to do anything."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(END_S)

    def kill_main(self) -> None:
        """End the main process alone, as the kernel does when memory runs out; the others have to notice."""
        self.process.kill()
        self.process.wait(END_S)

    def stop(self) -> int:
        """End it as asked; return its exit code."""
        self.process.terminate()
        try:
            return self.process.wait(END_S)
        finally:
            self.kill()
            if "store" in self.__dict__:
                self.store.close()
            if "server" in self.__dict__:
                self.server.__exit__(None, None, None)

    # --- questions

    def presence(self) -> dict[str, tuple[str, str]]:
        """Return state and reason of every device."""
        return {row.device: (row.presence, row.presence_reason) for row in self.store.devices.all()}

    def rollout(self, name: str) -> dict[str, Any]:
        """Return a rollout as the API tells it."""
        return dict(self.server.ask("GET", f"/api/v1/rollouts/{quote(name, safe='')}"))

    def roll(self, **wanted: Any) -> str:
        """Begin a rollout; return its id."""
        return str(self.server.ask("POST", "/api/v1/rollouts", body=wanted)["id"])

    def order(self, name: str, what: str, why: str = "") -> dict[str, Any]:
        """Give an order to a rollout."""
        path = f"/api/v1/rollouts/{quote(name, safe='')}/{what}"
        return dict(self.server.ask("POST", path, body={"reason": why}))
