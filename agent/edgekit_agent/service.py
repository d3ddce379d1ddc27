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
from dataclasses import replace
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import Any

from edgekit_agent import probe
from edgekit_agent.actions import Action, EndWorker, KillWorker, Now, Queue, Send, ShareWork, StartWorker, WorkerId
from edgekit_agent.answers import Answers
from edgekit_agent.birth import Births
from edgekit_agent.cgroups import Enclosure
from edgekit_agent.commands import Answer
from edgekit_agent.config import AgentConfig, ModelConfig
from edgekit_agent.core import Core
from edgekit_agent.durable import NO_ROOM, StateFile, held, sweep
from edgekit_agent.errors import ConfigError, ProtocolError
from edgekit_agent.fetch.launch import FetchProcess
from edgekit_agent.gateway.keeper import GatewayKeeper
from edgekit_agent.gauges import Gauges
from edgekit_agent.logline import logline
from edgekit_agent.operations import Operations, Parts
from edgekit_agent.orders import orders_of
from edgekit_agent.outbox import Outbox
from edgekit_agent.process import WorkerProcess
from edgekit_agent.protocol import HOST, Ack, Desired, Event, Kind, Reason, State, Topic, commands_of, device_topic
from edgekit_agent.remote import RemoteConfig
from edgekit_agent.serve.doors import Doors
from edgekit_agent.spool import Limits, Spool, kernel_boot
from edgekit_agent.transport.base import Connected, Disconnected, Received, Taken, Transport, Will
from edgekit_agent.update.serving import to_start
from edgekit_agent.update.store import Store
from edgekit_agent.update.updates import Updates
from edgekit_agent.watchdog import SPOOL, TRANSPORT, WORKERS, Watchdog

_log = logging.getLogger(__name__)

PENDING_LETTERS = 200
LONGEST_SLEEP_S = 5.0
GOODBYE_S = 2.0
REPORT_EXPIRY_S, EVENT_EXPIRY_S, RESULT_EXPIRY_S = 3600, 86400, 3600
_LEVELS = MappingProxyType({"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR})


class Service:
    """Runs models and reports, until it is told to stop."""

    def __init__(self, config: AgentConfig, transport: Transport) -> None:
        """Take the configuration and a transport that was not started."""
        self._config, self._transport = config, transport
        self._letters: deque[Event | Answer] = deque(maxlen=PENDING_LETTERS)
        self._answers = Answers(config, transport)
        self._workers: dict[WorkerId, WorkerProcess] = {}
        self._doors = Doors(config.run_folder)
        self._gateway = GatewayKeeper(config.serve, config.run_folder)
        self._in_flight: dict[int, int | Event | Answer] = {}
        self._ack = device_topic(config.site, config.device, Kind.ACK)
        self._host = device_topic(config.site, HOST, Kind.STATE)
        self._desired = device_topic(config.site, config.device, Kind.DESIRED)
        self._gauges = Gauges()
        self._enclosure = Enclosure.found([model.limits for model in config.model])
        self._births = Births(Path(config.state_dir))
        self._birth_used = False
        self._selector = selectors.DefaultSelector()
        self._stopping = self._online = False
        self._last_reason = ""
        self._notify = os.environ.get("NOTIFY_SOCKET")
        period_s = int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6
        self._watchdog = Watchdog(period_s or None)
        self._longest_sleep_s = min(LONGEST_SLEEP_S, period_s / 6 or LONGEST_SLEEP_S)

    def run(self) -> None:
        """Run until SIGTERM or SIGINT, then stop cleanly.

        Raises:
            ConfigError: if the state folder cannot be written, or another agent uses it, or a socket cannot be made.
        """
        with contextlib.ExitStack() as state:
            folder = Path(self._config.state_dir)
            self._open_state(folder, state)
            self._remote = RemoteConfig(self._config, StateFile(folder / "remote.json"))
            config = self._remote.config
            logging.getLogger().setLevel(config.log_level.upper())
            self._spool = Spool(folder / "spool", _limits(config), _now(), kernel=kernel_boot())
            state.callback(self._spool.close)
            self._outbox = Outbox(self._spool, config.telemetry.settle_s)
            state.callback(self._doors.close)
            for model in self._config.model:
                self._doors.of(model)
            self._load(folder)
            parts = Parts(core=self._core, workers=self._workers, spool=self._spool, gauges=self._gauges)
            self._operations = Operations(self._config, parts, self._updates, self._remote, _now)
            self._operations.open()
            state.callback(self._operations.close)
            self._run()

    def _load(self, folder: Path) -> None:
        """Find out which releases are to run, and make the rules for them."""
        store = Store(folder)
        records, doubt = store.load()
        models, self._troubles = to_start(self._config.model, records, folder)
        if doubt is not None:
            _log.warning("%s", logline({"event": "state-doubtful", "reason": doubt}))
        running = replace(self._remote.config, model=models)
        boot, over = secrets.token_hex(8), self._remote.over
        self._core = Core(running, boot, probe.hardware(), probe.installed_runtimes(), over)
        self._updates = Updates(self._config, self._core, store, self._do, self._watch)

    @property
    def restart(self) -> bool:
        """Whether it has ended because another version of the agent is to run."""
        return self._updates.restart and not self._stopping

    def _open_state(self, folder: Path, held_until: contextlib.ExitStack) -> None:
        """Make the state folder ours until the end; a full disk is no reason not to start."""
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            held_until.enter_context(held(folder / "lock"))
            for name in sweep(folder):
                _log.info("%s", logline({"event": "leftover-removed", "name": name}))
            self._births.next()
        except BlockingIOError as exc:
            raise ConfigError(f"state_dir '{folder}' is in use by another agent") from exc
        except OSError as exc:
            if exc.errno not in NO_ROOM:
                raise ConfigError(f"state_dir '{folder}' cannot be written: {exc.strerror}") from exc
            _log.warning("%s", logline({"event": "state-not-kept", "reason": str(exc)}))

    def _run(self) -> None:
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        old_wake = signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        self._selector.register(wake_read, selectors.EVENT_READ, ("wake", wake_read))
        self._selector.register(self._transport.fileno(), selectors.EVENT_READ, ("transport", None))
        self._selector.register(self._gateway, selectors.EVENT_READ, ("gateway", None))
        control = self._operations.control
        if control is not None:
            self._selector.register(control.fileno(), selectors.EVENT_READ, ("operator", None))
        topics = (self._ack, self._host, self._desired, commands_of(self._config.site, self._config.device))
        try:
            self._transport.start(self._will, topics)
            self._letters.extend(self._operations.commands.start())
            self._start_models()
            self._feed_watchdog()
            while not (self._stopping or self._updates.restart):
                self._turn()
        finally:
            self._goodbye()
            signal.set_wakeup_fd(old_wake)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._selector.close()
            os.close(wake_read)
            os.close(wake_write)

    def _start_models(self) -> None:
        now = _now()
        self._do(self._core.start(now))
        for one in self._troubles:
            self._do(self._core.tell("error", one.reason, now, one.model, {"text": one.text}))
        self._updates.start(now)

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
        if (end := self._gateway.tick(_now().s)) is not None:
            self._do(self._core.tell("error", Reason.GATEWAY_ENDED, _now(), detail=end))
        self._do(self._core.tick(_now()))
        self._updates.tick(_now())
        self._letters.extend(self._operations.tick(_now()))
        self._send_waiting()
        self._look_at_spool()
        self._feed_watchdog()

    def _sleep(self) -> float:
        now = _now()
        parts = (self._core.next_time(), self._outbox.next_time(now), self._updates.next_time(now))
        times = (*parts, self._operations.next_time(now), self._gateway.next_time())
        wait = min((moment - now.s for moment in times if moment is not None), default=LONGEST_SLEEP_S)
        return max(0.0, min(wait, self._longest_sleep_s))

    def _feed_watchdog(self) -> None:
        """Tell the service manager that all works, when it does; the spool has been looked at when this is called."""
        now = _now()
        self._watchdog.tick(SPOOL)
        if self._transport.alive:
            self._watchdog.tick(TRANSPORT)
        if not self._core.overdue(now):
            self._watchdog.tick(WORKERS)
        for text in self._watchdog.due(now.s):
            self._tell_systemd(text)
        if late := self._watchdog.late(now.s):
            _log.warning("%s", logline({"event": "part-stuck", "parts": ",".join(late)}))

    # --- what the rules ask for

    def _do(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case StartWorker(worker, model, prove):
                    self._start(worker, model, prove=prove)
                case EndWorker(worker):
                    self._workers[worker].ask_to_stop()
                case ShareWork(worker):
                    self._workers[worker].share()
                case KillWorker(worker):
                    self._workers[worker].kill()
                case Send(kind, message, retained):
                    if isinstance(message, Event):
                        self._tell(message)
                    else:
                        self._transport.publish(self._topic(kind), message.to_bytes(), retain=retained)
                case Queue(report):
                    self._operations.board.report(report, _now())
                    self._outbox.put(report, _now())

    def _tell(self, event: Event) -> None:
        about: dict[str, object] = {"model": event.model} if event.model else {}
        _log.log(_LEVELS[event.level], "%s", logline({"event": event.code, **about, **event.detail}))
        self._operations.board.event(event)
        self._letters.append(event)

    def _start(self, worker: WorkerId, model: ModelConfig, *, prove: bool) -> None:
        try:
            process = WorkerProcess(
                worker,
                orders_of(model, self._config.broker, prove=prove),
                model.limits,
                self._enclosure,
                listener=self._doors.of(model),
            )
        except (OSError, ConfigError) as exc:
            self._do(self._core.died(worker, {"error": str(exc)}, _now()))
            return
        self._workers[worker] = process
        self._gauges.process(process.process.pid, _now().s)  # from here on its use of the processor is counted
        self._selector.register(process.control, selectors.EVENT_READ, ("control", worker))
        self._selector.register(process.stderr, selectors.EVENT_READ, ("stderr", worker))
        _log.info("%s", logline({"event": "worker-started", "worker": str(worker), "pid": process.process.pid}))

    # --- what comes from outside

    def _from_stderr(self, worker: WorkerId) -> None:
        process = self._workers.get(worker)  # gone when its end was seen in the same turn
        if process is not None and process.read_stderr():
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(process.stderr)

    def _from_worker(self, worker: WorkerId) -> None:
        process = self._workers[worker]
        messages, ended = process.messages()
        refused = False
        for message in messages:
            match message["type"]:
                case "ready":
                    self._do(self._core.ready(worker, message, _now()))
                case "measured":
                    self._measured(worker, message)
                case "finished":
                    self._do(self._core.finished(worker, _now()))
                case "answer":
                    if not self._answers.put(worker.model, message["body"]):
                        self._core.unsent(worker)
                case "refused":
                    refused = True
                    self._forget(process)
                    self._do(self._core.refused(worker, message, _now()))
                    break
        if ended and not refused:
            detail = self._forget(process)
            self._do(self._core.died(worker, detail, _now(), hung=process.hung))

    def _measured(self, worker: WorkerId, message: dict[str, Any]) -> None:
        """Add what the kernel tells to what a worker has measured."""
        now = _now()
        used = self._gauges.process(self._workers[worker].process.pid, now.s)
        gauges = {**self._gauges.device(now.s), **used, **message.get("gauges", {})}
        self._do(self._core.measured(worker, {**message, "gauges": gauges}, now))

    def _forget(self, process: WorkerProcess) -> dict[str, object]:
        for descriptor in (process.control, process.stderr):
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(descriptor)
        detail = process.reap()
        self._gauges.forget(process.process.pid)
        process.close()
        del self._workers[process.id]
        return detail

    def _from_transport(self) -> None:
        for event in self._transport.poll():
            now = _now()
            match event:
                case Connected(birth, protocol):
                    _log.info("event=connected protocol=%s", protocol)
                    self._operations.board.connected(protocol, now)
                    self._online = True
                    unsure = [one for one in self._in_flight.values() if not isinstance(one, int)]
                    self._letters.extendleft(reversed(unsure))
                    self._in_flight.clear()
                    self._answers.connected()
                    self._outbox.connected(now)
                    self._updates.told(None)
                    self._do(self._core.connected(birth, now))
                case Disconnected(reason):
                    # a broker that is away for hours is told once
                    again = not self._online and reason == self._last_reason
                    line = logline({"event": "disconnected", "reason": reason})
                    _log.log(logging.DEBUG if again else logging.WARNING, "%s", line)
                    self._online, self._last_reason = False, reason
                    self._operations.board.disconnected(reason, now)
                    self._outbox.disconnected()
                    self._core.disconnected()
                case Taken(token, heard):
                    self._answers.taken(token)
                    sent = self._in_flight.pop(token, None)
                    if isinstance(sent, int):
                        self._outbox.taken(sent, now, heard=heard)
                case Received(topic, payload):
                    with contextlib.suppress(ProtocolError):  # what is no message of ours changes nothing
                        self._from_host(topic, payload, now)

    def _from_host(self, topic: str, payload: bytes, now: Now) -> None:
        if topic == self._ack:
            ack = Ack.from_bytes(payload)
            self._outbox.acknowledged(ack.boot, ack.seq, now)
        elif topic == self._host:
            if payload:
                self._outbox.host(State.from_bytes(payload))
            else:
                self._outbox.no_host()
        elif topic == self._desired:
            if payload:
                self._wanted(Desired.from_bytes(payload), now)
        else:
            command = Topic.parse(topic).command or ""
            self._letters.extend(self._operations.commands.received(command, payload, now))

    def _wanted(self, desired: Desired, now: Now) -> None:
        """Take what a host wants: another configuration first, so that what is installed runs with it."""
        if desired.lease is None and self._remote.desired(desired):
            config = self._remote.config
            _log.info("%s", logline({"event": "configured", "v": desired.version}))
            logging.getLogger().setLevel(config.log_level.upper())
            self._spool.limit(_limits(config), now)
            self._outbox.settle_s = config.telemetry.settle_s
            self._do(self._core.configure(config.telemetry, now))
        self._updates.desired(desired, now)

    def _will(self) -> Will:
        if self._birth_used:
            try:
                self._births.next()
            except OSError as exc:  # a full disk must not keep the device from reporting
                _log.warning("event=birth-not-kept reason=%s", exc)
        self._birth_used = True
        birth = self._births.last
        return Will(birth, self._topic(Kind.STATE), self._core.will(birth).to_bytes())

    # --- what goes out

    def _topic(self, kind: Kind) -> str:
        return device_topic(self._config.site, self._config.device, kind)

    def _send_waiting(self) -> None:
        while self._letters and self._outbox.open(_now()):
            token = self._post(self._letters[0])
            if token is None:
                return
            self._in_flight[token] = self._letters.popleft()
        self._say_how_updates_stand()
        self._spool.sync()  # a report is on the disk before it is sent
        for parcel in self._outbox.take(_now()):
            token = self._transport.publish(self._topic(Kind.TELE), parcel.payload, expiry_s=REPORT_EXPIRY_S)
            if token is not None:
                self._in_flight[token] = parcel.position

    def _post(self, letter: Event | Answer) -> int | None:
        if isinstance(letter, Event):
            return self._transport.publish(self._topic(Kind.EVENT), letter.to_bytes(), expiry_s=EVENT_EXPIRY_S)
        topic = device_topic(self._config.site, self._config.device, Kind.RESULT, letter.command)
        return self._transport.publish(topic, letter.result.to_bytes(), expiry_s=RESULT_EXPIRY_S)

    def _say_how_updates_stand(self) -> None:
        """Publish it, retained, when it changes and on each connection: the disk knows it, the broker may forget it."""
        news = self._updates.news(self._remote.state) if self._online else None
        if news is not None:
            token = self._transport.publish(self._topic(Kind.REPORTED), news.to_bytes(), retain=True)
            self._updates.told(news if token is not None else None)

    def _watch(self, process: FetchProcess, begin: bool) -> None:  # one of two
        if begin:
            self._selector.register(process.output, selectors.EVENT_READ, ("fetch", None))
        else:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(process.output)

    def _look_at_spool(self) -> None:
        now = _now()
        self._do(self._core.lost(self._spool.dropped_here, self._spool.dropped, now))
        self._do(self._core.disk(self._spool.trouble, now))

    def _goodbye(self) -> None:
        """End the workers, send what is left, and leave without the last will."""
        self._tell_systemd("STOPPING=1")
        self._updates.close()
        self._gateway.stop()
        self._letters.extend(self._operations.commands.stop())
        with contextlib.suppress(OSError):
            for process in self._workers.values():
                process.ask_to_stop()  # all at once: they end side by side
            for worker, process in self._workers.items():
                for message in process.stop():
                    if message["type"] == "measured":
                        self._measured(worker, message)
            self._workers.clear()
            end = time.monotonic() + GOODBYE_S
            last = self._core.stop(_now())
            farewell: list[Action] = [action for action in last if isinstance(action, Send) and action.retained]
            self._do([action for action in last if action not in farewell])
            self._outbox.hurry()
            self._send_waiting()
            while self._outbox.unsent and time.monotonic() < end:
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


def _limits(config: AgentConfig) -> Limits:
    telemetry = config.telemetry
    return Limits(
        disk_bytes=int(telemetry.spool_mb * 1_000_000), age_s=telemetry.spool_days * 86400, in_memory=telemetry.queue
    )


def _now() -> Now:
    return Now(s=time.monotonic(), ms=time.time_ns() // 1_000_000)
