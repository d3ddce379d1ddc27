"""The client of applications: arrays in, arrays out, through memory that the worker reads in place."""

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from edgekit_agent import feeds
from edgekit_agent.client.errors import (
    Busy,
    ClientError,
    DeadlineExceeded,
    InferenceFailed,
    ModelChanged,
    ModelGone,
    RequestRefused,
)
from edgekit_agent.client.link import Link, LinkLost
from edgekit_agent.client.slots import Slot, Slots
from edgekit_agent.errors import ProtocolError
from edgekit_agent.runtimes.base import Array, TensorSpec
from edgekit_agent.serve.doors import folder_of, path_of
from edgekit_agent.serve.wire import Hello, Request, Shapes, Status, offsets

DEPTH = 4
PATIENCE_S = 10.0
DEATHS = 2
"""A request is given up when so many workers have died while they had it: it may be what kills them."""
_LATE_S = 0.05
_ERRORS: Mapping[Status, type[ClientError]] = {
    Status.BUSY: Busy,
    Status.EXPIRED: DeadlineExceeded,
    Status.BAD: RequestRefused,
    Status.FAILED: InferenceFailed,
}


class Pending:
    """A request on its way; `result` waits for the answer."""

    __slots__ = ("_client", "_outputs", "deadline_s", "deaths", "error", "sent", "shapes", "slot")

    def __init__(self, client: "Client", slot: Slot, deadline_s: float | None) -> None:
        """Take what was asked; `deadline_s` is on the steady clock."""
        self._client, self.deadline_s = client, deadline_s
        self.slot: Slot | None = slot
        self.deaths, self.sent = 0, False
        self.shapes: Shapes | None = None
        self.error: ClientError | None = None
        self._outputs: dict[str, Array] | None = None

    @property
    def done(self) -> bool:
        """Whether it has ended, as far as is known: `result` will not wait."""
        return self.shapes is not None or self.error is not None

    def result(self, *, copy: bool = True) -> dict[str, Array]:
        """Wait for the outputs by name, as the model stores them (`quantize.to_real` gives real values).

        Args:
            copy: without, the arrays are views that the next request may overwrite.

        Raises:
            Busy: the model's queue was full.
            DeadlineExceeded: it did not come in time.
            ModelGone: no worker serves the model any more.
            RequestRefused: the request does not fit the model.
            InferenceFailed: the runtime failed on it.
        """
        if self._outputs is None:
            self._client.wait(self)
            if self.error is not None:
                raise self.error
            self._outputs = self._client.collect(self, copy=copy)
        return self._outputs

    def keep(self) -> None:
        """Copy the outputs, because another request needs their place."""
        if self.shapes is not None and self._outputs is None:
            self._outputs = self._client.collect(self, copy=True)


class Client:
    """A model on this device, to be used by one thread at a time.

    >>> with Client("kws") as model:
    ...     model.inputs["x"][...] = features
    ...     scores = model.infer(deadline_s=0.1)["scores"]

    A worker that ends, crashes or is replaced by an update is not noticed: what it has not answered is asked again of
    its successor. Only if there is none for `patience_s` is it an error.
    """

    def __init__(
        self, model: str, *, folder: str | Path | None = None, depth: int = DEPTH, patience_s: float = PATIENCE_S
    ) -> None:
        """Connect.

        Args:
            model: its name in the agent's configuration.
            folder: the agent's `run_dir` (default: $EDGEKIT_RUN_DIR, or the usual ones).
            depth: how many requests can be on the way at a time.
            patience_s: how long a model may be without a worker.

        Raises:
            ModelGone: if no worker serves it.
        """
        self.name, self.patience_s, self.depth = model, patience_s, depth
        self._path = path_of(Path(folder) if folder is not None else folder_of(model), model)
        self._asked: dict[int, Pending] = {}
        self._answered: list[Pending] = []
        self._last = 0
        self._lost_s: float | None = None
        self._link = Link.open(model, self._path, time.monotonic() + patience_s)
        self._begin()

    # --- what is served

    @property
    def hello(self) -> Hello:
        """What the worker serves: names, types, shapes, version, limits."""
        return self._link.hello

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        """The inputs' names, types, shapes (-1: free) and scales."""
        return self.hello.inputs

    @property
    def inputs(self) -> dict[str, Array]:
        """The inputs of the next request, to be written in place: free dimensions are 1 until `shape` gives others."""
        return dict(zip(self._names, self._slot().inputs, strict=True))

    def shape(self, **shapes: tuple[int, ...]) -> dict[str, Array]:
        """Give the inputs of the next request shapes by name, and return the inputs.

        Raises:
            RequestRefused: if an input does not take its shape.
        """
        slot = self._slot()
        now = dict(zip(self._names, slot.shapes, strict=True)) | shapes
        for spec in self.hello.inputs:
            if not spec.takes(now[spec.name]):
                raise RequestRefused(f"input '{spec.name}' takes {list(spec.shape)} and not {list(now[spec.name])}")
        self._shape(slot, tuple(tuple(now[name]) for name in self._names))
        return self.inputs

    # --- asking

    def infer(self, *, deadline_s: float | None = None, copy: bool = True) -> dict[str, Array]:
        """Run the model on what stands in `inputs`; see `Pending.result`."""
        return self.submit(deadline_s=deadline_s).result(copy=copy)

    def __call__(self, *arrays: Array, deadline_s: float | None = None, **named: Array) -> dict[str, Array]:
        """Run the model on arrays, in the inputs' order or by name.

        Arrays that are not of an input's own type are taken as real values and quantized where the input is.

        Raises:
            InputDataError: if an array does not fit its input.
        """
        self.put(*arrays, **named)
        return self.infer(deadline_s=deadline_s)

    def put(self, *arrays: Array, **named: Array) -> None:
        """Write arrays into the inputs of the next request; see `__call__`.

        Raises:
            InputDataError: if an array does not fit its input.
            RequestRefused: if one is missing or unknown.
        """
        given = dict(zip(self._names, arrays, strict=False)) | named
        if len(given) != len(arrays) + len(named) or set(given) != set(self._names):
            raise RequestRefused(f"model '{self.name}' takes the inputs: {', '.join(self._names)}")
        stored = [feeds.fit(np.asarray(given[spec.name]), spec, "the array") for spec in self.hello.inputs]
        slot = self._slot()
        self._shape(slot, tuple(array.shape for array in stored))
        for place, array in zip(slot.inputs, stored, strict=True):
            place[...] = array

    def submit(self, *, deadline_s: float | None = None) -> Pending:
        """Send what stands in `inputs` without waiting; then `inputs` are those of another request.

        Waits only while as many as `depth` are on the way.
        """
        slot = self._slot()
        self._free.pop()
        self._last += 1
        if self._lost_s is not None and not self._asked:
            self._lost_s = time.monotonic()  # patience begins when somebody asks
        pending = Pending(self, slot, None if deadline_s is None else time.monotonic() + deadline_s)
        self._asked[self._last] = pending
        self._send(self._last, pending)
        return pending

    def forget(self) -> None:
        """Drop what is on its way, by connecting again when something is asked next."""
        self._give_up_all(ModelGone(f"model '{self.name}' was asked to forget this"))
        for pending in list(self._answered):
            pending.keep()
        self._lose(died=False)

    def close(self) -> None:
        """End the connection; what is on its way is dropped."""
        self._link.close()
        self._slots.memory.close()

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    # --- for requests on their way

    def wait(self, pending: Pending) -> None:
        """Receive until a request has ended."""
        while not pending.done:
            left = None if pending.deadline_s is None else pending.deadline_s + _LATE_S - time.monotonic()
            if left is not None and left <= 0:
                pending.error = DeadlineExceeded(f"model '{self.name}' did not answer in time")
                return
            self._receive(left)

    def collect(self, pending: Pending, *, copy: bool) -> dict[str, Array]:
        """Return the outputs that have come, and free their place."""
        assert pending.slot is not None  # noqa: S101  # it is answered
        assert pending.shapes is not None  # noqa: S101
        views = self._slots.outputs(pending.slot, pending.shapes)
        self._answered.remove(pending)
        self._free.append(pending.slot)
        pending.slot = None
        made = [view.copy() for view in views] if copy else views
        return {spec.name: one for spec, one in zip(self.hello.outputs, made, strict=True)}

    # --- the rest

    def _slot(self) -> Slot:
        """Return the place of the next request; without one, make room."""
        while not self._free:
            if self._answered:
                self._answered[0].keep()
            else:
                self._receive(None)
        return self._free[-1]

    def _shape(self, slot: Slot, shapes: Shapes) -> None:
        try:
            self._slots.shape(slot, shapes)
        except (OSError, ProtocolError) as exc:
            raise RequestRefused(f"there is no memory for the inputs: {exc}") from exc

    def _send(self, number: int, pending: Pending) -> None:
        slot = pending.slot
        if self._lost_s is not None or slot is None:
            return  # sent when there is a worker again
        sizes = tuple(slot.shapes[at][axis] for at, axis in self._dimensions)
        deadline = 0 if pending.deadline_s is None else max(1, int(pending.deadline_s * 1e9))
        request = Request(number, time.monotonic_ns(), deadline, slot.inputs_at, slot.outputs_at, slot.room, sizes)
        with contextlib.suppress(LinkLost):  # why, is read when an answer is waited for
            self._link.send(self._link.requests.pack(request))
            pending.sent = True

    def _receive(self, timeout_s: float | None) -> None:
        """Take one reply, or find another worker where this one is gone."""
        if self._lost_s is not None:
            self._find_worker(timeout_s)
            return
        try:
            message = self._link.receive(timeout_s)
        except LinkLost:
            self._lose()
            return
        if message is None:
            return
        number, status, found = self._link.replies.unpack(message)
        if number == 0:
            self._go(status, str(found))
            return
        pending = self._asked.pop(number, None)
        if pending is None:
            return
        if pending.error is not None:
            self._give_up(pending, pending.error)
        elif status is Status.SHORT and not isinstance(found, str):
            self._with_more_room(number, pending, found)
        elif status is Status.OK and not isinstance(found, str):
            pending.shapes = found
            self._answered.append(pending)
        else:
            self._give_up(pending, _ERRORS[status](f"model '{self.name}': {found}"))

    def _go(self, status: Status, text: str) -> None:
        """The worker says that it ends, or that it takes nothing from us."""
        if status is not Status.GOAWAY:
            self._give_up_all(RequestRefused(f"model '{self.name}': {text}"))
        self._lose(died=False)

    def _with_more_room(self, number: int, pending: Pending, shapes: Shapes) -> None:
        assert pending.slot is not None  # noqa: S101  # it was asked
        try:
            self._slots.give_room(pending.slot, offsets(self.hello.outputs, shapes)[1])
        except (OSError, ProtocolError) as exc:
            self._give_up(pending, InferenceFailed(f"there is no memory for the outputs: {exc}"))
            return
        self._asked[number] = pending
        self._send(number, pending)

    def _give_up(self, pending: Pending, error: ClientError) -> None:
        pending.error = error
        if pending.slot is not None:
            self._free.append(pending.slot)
            pending.slot = None

    def _lose(self, *, died: bool = True) -> None:
        """The worker is gone: what it has not answered is asked of another, but not for ever of one after the other."""
        self._link.close()
        self._lost_s = time.monotonic()
        for number, pending in list(self._asked.items()):
            pending.deaths += died and pending.sent
            pending.sent = False
            if pending.deaths >= DEATHS or pending.error is not None:
                del self._asked[number]
                error = ModelGone(f"{DEATHS} workers of model '{self.name}' died while they had this request")
                self._give_up(pending, pending.error or error)

    def _find_worker(self, timeout_s: float | None) -> None:
        """Connect again and ask again; when patience is over, give up what was asked."""
        assert self._lost_s is not None  # noqa: S101  # why it is called
        end_s = self._lost_s + self.patience_s
        until_s = end_s if timeout_s is None else min(end_s, time.monotonic() + timeout_s)
        try:
            link = Link.open(self.name, self._path, until_s)
        except ModelGone as exc:
            if until_s == end_s:
                self._give_up_all(exc)
            return
        before, self._link, self._lost_s = self.hello, link, None
        if (link.hello.inputs, link.hello.outputs) != (before.inputs, before.outputs):
            self._give_up_all(ModelChanged(f"model '{self.name}' has other inputs or outputs now"))
            for pending in list(self._answered):
                pending.keep()
            self._slots.memory.close()
            self._begin()
            return
        try:
            link.attach(self._slots.memory.handle)
        except LinkLost:
            self._lose(died=False)
        for number, pending in list(self._asked.items()):
            self._send(number, pending)

    def _give_up_all(self, error: ClientError) -> None:
        for pending in self._asked.values():
            self._give_up(pending, pending.error or error)
        self._asked.clear()

    def _begin(self) -> None:
        """Make the memory for what the worker at the other end serves."""
        self._slots = Slots(self.hello, self.depth)
        self._free = list(self._slots.all)
        self._names = [spec.name for spec in self.hello.inputs]
        self._dimensions = self.hello.free
        try:
            self._link.attach(self._slots.memory.handle)
        except LinkLost:
            self._lose(died=False)
