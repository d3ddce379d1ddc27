"""Does what an update needs done: the fetch process, the crew on trial, the files that are of no use any more."""

import contextlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from edgekit_agent.actions import Action, Now
from edgekit_agent.bundled import configured, unpacked
from edgekit_agent.config import AgentConfig, ModelConfig
from edgekit_agent.core import Core
from edgekit_agent.errors import AgentError
from edgekit_agent.fetch import slots
from edgekit_agent.fetch.blobs import BlobStore
from edgekit_agent.fetch.launch import FetchProcess
from edgekit_agent.fetch.messages import FetchAnswer, FetchRequest
from edgekit_agent.protocol import Reason
from edgekit_agent.update import rules
from edgekit_agent.update.own import OwnVersion
from edgekit_agent.update.records import Phase, Record, Records, Update
from edgekit_agent.update.rules import Act
from edgekit_agent.update.trying import Trials
from edgekit_agent.update.updater import Done, Refused

Watch = Callable[[FetchProcess, bool], None]


class RealHands:
    """The agent's own; what it starts is told to the service, which selects on it."""

    def __init__(self, config: AgentConfig, core: Core, do: Callable[[list[Action]], None], watch: Watch) -> None:
        """Take the rules, what carries out their actions, and what begins and ends to select on a process."""
        self._config, self._watch = config, watch
        self._state = Path(config.state_dir)
        self._fetch: FetchProcess | None = None
        self._trials = Trials(config.update, core, do)
        self.own = OwnVersion(self._state, config.update.trial_s, lambda: core.online)
        self._result: Done | Refused | None = None

    def begin(self, act: Act, name: str, records: Records, now: Now) -> None:
        """Begin an act; see `updater.Hands`."""
        self._leave_fetch()
        self._result = None
        record = records.of(name)
        update = record.update
        if update is None:
            return
        match act:
            case Act.CHECK | Act.FETCH | Act.INSTALL:
                self._start_fetch(act, name, record, update)
            case Act.TRY | Act.DISMISS | Act.PROMOTE if name == slots.AGENT:
                self._result = self.own.begin(act, update)
            case Act.TRY:
                self._start_trial(name, update, now)
            case Act.DISMISS:
                self._trials.end(now)
                self._result = Done()
            case Act.PROMOTE:
                self._trials.promote(now)
                self._result = Done()
            case Act.COLLECT:
                self._collect(name, records)
                self._result = Done()
            case Act.NOTHING:
                self._result = Done()

    def poll(self, now: Now) -> Done | Refused | None:
        """Return what came of it; see `updater.Hands`."""
        if self._fetch is not None and self._fetch.poll():
            answer = self._fetch.answer
            self._leave_fetch()
            self._result = None if answer is None else _result_of(answer)
        elif self._result is None or self._trials.running:  # one that has passed may yet fail before it is kept
            self._result = self._trials.look(now) or self.own.look(now)
        return self._result

    def stop(self, now: Now) -> None:
        """Leave off; see `updater.Hands`."""
        self._leave_fetch()
        self._trials.end(now)
        self.own.stop()
        self._result = None

    def close(self) -> None:
        """End the fetch process; workers are ended by the service."""
        self._leave_fetch()

    @property
    def trying(self) -> bool:
        """Whether a release is on trial."""
        return self._trials.running

    @property
    def progress(self) -> float | None:
        """The share of the bundle that is downloaded."""
        found = self._fetch.progress if self._fetch is not None else None
        return found.done / found.total if found is not None and found.total else None

    # --- the fetch process

    def _start_fetch(self, act: Act, name: str, record: Record, update: Update) -> None:
        repository = update.wanted.repository or self._config.update.repository
        if repository is None or not self._allowed(repository):
            text = f"'{repository}' is neither configured nor allowed" if repository else "none is configured"
            self._result = Refused(reason=Reason.REPOSITORY_NOT_ALLOWED, detail={"text": text})
            return
        request = replace(
            self.request(name, record, repository),
            op=_OPERATIONS[act],
            target=update.wanted.target,
            version=update.wanted.version,
            sha256=update.sha256 or update.wanted.sha256,
            slot=None if update.slot is None else str(slots.slots_of(self._state, name) / update.slot),
        )
        try:
            self._fetch = FetchProcess(request)
        except OSError as exc:
            self._result = Refused(reason=Reason.FETCH_CRASHED, detail={"text": f"it cannot be started: {exc}"})
            return
        self._watch(self._fetch, True)  # noqa: FBT003  # begin

    def request(self, name: str, record: Record, repository: str) -> FetchRequest:
        """Return what is the same in every request for a model."""
        update = self._config.update
        return FetchRequest(
            op="check",
            store=str(self._state),
            repository=repository,
            model=name,
            hardware=update.hardware,
            counter=record.current.counter if record.current is not None else 0,
            max_bytes=update.max_mb * 1_000_000,
            reserve_bytes=update.reserve_mb * 1_000_000,
            deadline_s=max(update.check_s, update.download_s, update.install_s),
            min_bytes_per_s=update.min_bytes_per_s,
            ca=update.ca,
            cert=update.cert,
            key=update.key,
        )

    def _allowed(self, repository: str) -> bool:
        own = self._config.update
        return repository == own.repository or any(_below(repository, prefix) for prefix in own.allow)

    def _leave_fetch(self) -> None:
        if self._fetch is not None:
            self._watch(self._fetch, False)  # noqa: FBT003  # end
            self._fetch.close()
            self._fetch = None

    # --- the trial

    def _start_trial(self, name: str, update: Update, now: Now) -> None:
        (model,) = (one for one in self._config.model if one.name == name)
        back = bool(update.wanted.back)
        if update.slot is None:
            self._start_configured(model, now)
            return
        folder = slots.slots_of(self._state, name) / str(update.slot)
        try:
            release = configured(model, folder)
        except AgentError as exc:
            self._result = Refused(reason=Reason.SLOT_DAMAGED, detail={"text": str(exc)})
            return
        if slots.marked(folder) != update.sha256:
            self._result = Refused(reason=Reason.SLOT_DAMAGED, detail={"text": "the slot does not hold the bundle"})
            return
        self._trials.start(release, now, brief=back)

    def _start_configured(self, model: ModelConfig, now: Now) -> None:
        """Go back to what the configuration names."""
        try:
            release = unpacked(model, slots.folder_of(self._state, model.name) / "configured")
        except (AgentError, OSError) as exc:
            self._result = Refused(reason=Reason.BUNDLE_INVALID, detail={"text": str(exc)})
            return
        self._trials.start(release, now, brief=True)

    # --- what is of no use any more

    def _collect(self, name: str, records: Records) -> None:
        """Remove bundles that no slot came from, and the slot of an update that failed; what stays is tried again."""
        with contextlib.suppress(OSError):
            BlobStore(self._state).keep_only(rules.blobs_needed(records))
        record = records.of(name)
        used = {one.slot for one in (record.current, record.previous) if one is not None}
        update = record.update
        if update is None or update.slot is None or update.slot in used or Phase(update.phase) is Phase.CLEANUP:
            return
        folder = slots.slots_of(self._state, name) / update.slot
        with contextlib.suppress(OSError):
            slots.clear(folder)
            shutil.rmtree(folder.with_name(f".{folder.name}.part"), ignore_errors=True)


_OPERATIONS = {Act.CHECK: "check", Act.FETCH: "fetch", Act.INSTALL: "install"}


def _result_of(answer: FetchAnswer) -> Done | Refused:
    if answer.status != "ok":
        reason = answer.reason or ""
        code = Reason(reason) if reason in set(Reason) else Reason.FETCH_CRASHED
        return Refused(reason=code, detail={"text": answer.detail or ""})
    if answer.release is None:
        return Done()
    return Done(found={"sha256": answer.sha256, "counter": answer.release.release_counter})


def _below(url: str, prefix: str) -> bool:
    """Return whether a URL is a prefix or lies below it: `https://a` is no prefix of `https://a.example`."""
    return ".." not in url and (url == prefix or url.startswith(prefix if prefix.endswith("/") else f"{prefix}/"))
