"""The supervisor: the one file that wires rules, transport, workers and store together."""

import contextlib
import logging
import os
import secrets
import selectors
import signal
import socket
import time
from collections import deque
from pathlib import Path
from types import FrameType, MappingProxyType

from edgekit_agent import probe
from edgekit_agent.config import AgentConfig
from edgekit_agent.core import Action, Core, KillWorker, Now, Queue, Send, StartWorker
from edgekit_agent.errors import ConfigError
from edgekit_agent.logline import logline
from edgekit_agent.orders import orders_of
from edgekit_agent.outbox import Outbox
from edgekit_agent.process import WorkerProcess
from edgekit_agent.protocol import Event, Kind, Report, device_topic
from edgekit_agent.store import next_birth
from edgekit_agent.transport.base import Connected, Disconnected, Taken, Transport, Will

_log = logging.getLogger(__name__)

PENDING_EVENTS = 200
LONGEST_SLEEP_S = 5.0
GOODBYE_S = 2.0
REPORT_EXPIRY_S, EVENT_EXPIRY_S = 3600, 86400
_LEVELS = MappingProxyType({"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR})


class Service:
    """Runs models and reports, until it is told to stop."""

    def __init__(self, config: AgentConfig, transport: Transport) -> None:
        """Take the configuration and a transport that was not started."""
        self._config, self._transport = config, transport
        self._core = Core(config, secrets.token_hex(8), probe.hardware(), probe.installed_runtimes())
        self._outbox = Outbox(capacity=config.telemetry.queue, settle_s=config.telemetry.settle_s)
        self._events: deque[Event] = deque(maxlen=PENDING_EVENTS)
        self._workers: dict[str, WorkerProcess] = {}
        self._in_flight: dict[int, int | Event] = {}
        self._birth, self._birth_used = 0, False
        self._selector = selectors.DefaultSelector()
        self._stopping = self._online = False
        self._last_reason = ""
        self._notify = os.environ.get("NOTIFY_SOCKET")
        self._watchdog_s = int(os.environ.get("WATCHDOG_USEC", "0")) / 2e6

    def run(self) -> None:
        """Run until SIGTERM or SIGINT, then stop cleanly.

        Raises:
            ConfigError: if the state folder cannot be written.
        """
        self._birth = _usable(Path(self._config.state_dir))
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        old_wake = signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        self._selector.register(wake_read, selectors.EVENT_READ, ("wake", wake_read))
        self._selector.register(self._transport.fileno(), selectors.EVENT_READ, ("transport", None))
        try:
            self._transport.start(self._will)
            self._do(self._core.start(_now()))
            self._tell_systemd("READY=1")
            while not self._stopping:
                self._turn()
        finally:
            self._goodbye()
            signal.set_wakeup_fd(old_wake)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._selector.close()
            os.close(wake_read)
            os.close(wake_write)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        _log.info("event=stopping signal=%s", signal.Signals(number).name)
        self._stopping = True

    def _turn(self) -> None:
        for key, _ in self._selector.select(self._sleep()):
            kind, subject = key.data
            if kind == "wake":
                os.read(subject, 4096)
            elif kind == "transport":
                self._from_transport()
            elif kind == "control":
                self._from_worker(subject)
            elif kind == "stderr":
                self._from_stderr(subject)
        self._do(self._core.tick(_now()))
        self._send_waiting()
        self._tell_systemd("WATCHDOG=1")

    def _sleep(self) -> float:
        now = time.monotonic()
        times = [self._core.next_time(), self._outbox.next_time(now)]
        wait = min((moment - now for moment in times if moment is not None), default=LONGEST_SLEEP_S)
        longest = min(LONGEST_SLEEP_S, self._watchdog_s or LONGEST_SLEEP_S)
        return max(0.0, min(wait, longest))

    # --- what the rules ask for

    def _do(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case StartWorker(model):
                    self._start(model.name)
                case KillWorker(name):
                    self._workers[name].kill()
                case Send(kind, message, retained):
                    if isinstance(message, Event):
                        self._tell(message)
                    else:
                        self._transport.publish(self._topic(kind), message.to_bytes(), retain=retained)
                case Queue(report):
                    if lost := self._outbox.put(report):
                        self._do(self._core.lost(lost, _now()))

    def _tell(self, event: Event) -> None:
        about: dict[str, object] = {"model": event.model} if event.model else {}
        _log.log(_LEVELS[event.level], "%s", logline({"event": event.code, **about, **event.detail}))
        self._events.append(event)

    def _start(self, name: str) -> None:
        (config,) = (model for model in self._config.model if model.name == name)
        try:
            worker = WorkerProcess(config, orders_of(config))
        except OSError as exc:
            self._do(self._core.died(name, {"error": str(exc)}, _now()))
            return
        self._workers[name] = worker
        self._selector.register(worker.control, selectors.EVENT_READ, ("control", name))
        self._selector.register(worker.stderr, selectors.EVENT_READ, ("stderr", name))
        _log.info("event=worker-started model=%s pid=%d", name, worker.process.pid)

    # --- what comes from outside

    def _from_stderr(self, name: str) -> None:
        worker = self._workers.get(name)  # gone when its end was seen in the same turn
        if worker is not None and worker.read_stderr():
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(worker.stderr)

    def _from_worker(self, name: str) -> None:
        worker = self._workers[name]
        messages, ended = worker.messages()
        refused = False
        for message in messages:
            match message["type"]:
                case "ready":
                    self._do(self._core.ready(name, message, _now()))
                case "measured":
                    self._do(self._core.measured(name, message, _now()))
                case "finished":
                    self._do(self._core.finished(name, _now()))
                case "refused":
                    refused = True
                    self._forget(worker)
                    self._do(self._core.refused(name, message, _now()))
                    break
        if ended and not refused:
            detail = self._forget(worker)
            self._do(self._core.died(name, detail, _now(), hung=worker.hung))

    def _forget(self, worker: WorkerProcess) -> dict[str, object]:
        for descriptor in (worker.control, worker.stderr):
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(descriptor)
        detail = worker.reap()
        worker.close()
        del self._workers[worker.config.name]
        return detail

    def _from_transport(self) -> None:
        for event in self._transport.poll():
            now = _now()
            match event:
                case Connected(birth, protocol):
                    _log.info("event=connected protocol=%s", protocol)
                    self._online = True
                    unsure = [one for one in self._in_flight.values() if isinstance(one, Event)]
                    self._events.extendleft(reversed(unsure))
                    self._in_flight.clear()
                    self._outbox.connected(now.s)
                    self._do(self._core.connected(birth, now))
                case Disconnected(reason):
                    # a broker that is away for hours is told once
                    again = not self._online and reason == self._last_reason
                    line = logline({"event": "disconnected", "reason": reason})
                    _log.log(logging.DEBUG if again else logging.WARNING, "%s", line)
                    self._online, self._last_reason = False, reason
                    self._outbox.disconnected()
                    self._core.disconnected()
                case Taken(token, heard):
                    seq = self._in_flight.pop(token, None)
                    if isinstance(seq, int) and heard:
                        self._outbox.acked(seq)
                    elif isinstance(seq, int):
                        self._outbox.unheard(seq, now.s)

    def _will(self) -> Will:
        if self._birth_used:
            try:
                self._birth = next_birth(Path(self._config.state_dir))
            except OSError as exc:  # a full disk must not keep the device from reporting
                self._birth += 1
                _log.warning("event=birth-not-kept reason=%s", exc)
        self._birth_used = True
        return Will(self._birth, self._topic(Kind.STATE), self._core.will(self._birth).to_bytes())

    # --- what goes out

    def _topic(self, kind: Kind) -> str:
        return device_topic(self._config.site, self._config.device, kind)

    def _send_waiting(self) -> None:
        while self._online and self._events:
            payload = self._events[0].to_bytes()
            token = self._transport.publish(self._topic(Kind.EVENT), payload, expiry_s=EVENT_EXPIRY_S)
            if token is None:
                return
            self._in_flight[token] = self._events.popleft()
        for report in self._outbox.take(time.monotonic()):
            self._send(report)

    def _send(self, report: Report) -> None:
        token = self._transport.publish(self._topic(Kind.TELE), report.to_bytes(), expiry_s=REPORT_EXPIRY_S)
        if token is not None:
            self._in_flight[token] = report.seq

    def _goodbye(self) -> None:
        """End the workers, send what is left, and leave without the last will."""
        self._tell_systemd("STOPPING=1")
        with contextlib.suppress(OSError):
            for worker in self._workers.values():
                worker.ask_to_stop()  # all at once: they end side by side
            for name, worker in self._workers.items():
                for message in worker.stop():
                    if message["type"] == "measured":
                        self._do(self._core.measured(name, message, _now()))
            self._workers.clear()
            end = time.monotonic() + GOODBYE_S
            last = self._core.stop(_now())
            farewell: list[Action] = [action for action in last if isinstance(action, Send) and action.retained]
            self._do([action for action in last if action not in farewell])
            self._outbox.hurry()
            self._send_waiting()
            while self._online and len(self._outbox) and time.monotonic() < end:
                time.sleep(0.02)
                self._from_transport()
                self._send_waiting()
            self._do(farewell)  # "offline" stands behind everything that was still to be said
        self._transport.stop()

    def _tell_systemd(self, text: str) -> None:
        if self._notify is None:
            return
        address = "\0" + self._notify[1:] if self._notify.startswith("@") else self._notify
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.sendto(text.encode(), address)


def _usable(state_dir: Path) -> int:
    """Make the state folder, try to write into it, and return the birth number kept there."""
    try:
        state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        return next_birth(state_dir)
    except OSError as exc:
        raise ConfigError(f"state_dir '{state_dir}' cannot be written: {exc.strerror}") from exc


def _now() -> Now:
    return Now(s=time.monotonic(), ms=time.time_ns() // 1_000_000)
