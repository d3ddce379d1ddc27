"""The timed loop of a worker: sample, pre-processing, inference, post-processing, answer."""

import signal
import socket
import time
from typing import Any

from edgekit_agent import meter
from edgekit_agent.answering import Answer, Answering
from edgekit_agent.errors import AgentError
from edgekit_agent.meter import Meter
from edgekit_agent.runtimes.base import Array, Session
from edgekit_agent.serve.batch import Batch
from edgekit_agent.serve.desk import Desk
from edgekit_agent.sinks.base import Sinks
from edgekit_agent.sources.base import Sample, Source
from edgekit_agent.statistics import Statistics


class Loop:
    """The timed loop. What an inference costs beyond the runtime is four readings of a clock and an append."""

    def __init__(  # noqa: PLR0913  # the parts of a worker, each named
        self,
        control: socket.socket,
        session: Session,
        source: Source | Desk,
        answering: Answering,
        *,
        sinks: Sinks | None = None,
        about: dict[str, object] | None = None,
        rate_hz: float = 0.0,
    ) -> None:
        """Take a loaded model with its source, what takes its answers, and where they go.

        Args:
            control: the socket to the supervisor.
            session: the model.
            source: of its inputs.
            answering: the post-processing.
            sinks: where answers go.
            about: what is said of the model in each of them.
            rate_hz: inferences a second; 0 is as fast as it can.
        """
        self._control, self._session, self._source = control, session, source
        self._answering, self._sinks, self._about = answering, sinks or Sinks(()), about or {}
        self._answer = answering.answer
        self._telling = bool(self._sinks)
        self._period_s = 1 / rate_hz if rate_hz else 0.0
        self._due = 0.0
        self._overtaken = source.dropped
        self.meter = Meter(control, Statistics(session.inputs, session.outputs, softmax=answering.softmax))
        self._asked_to_stop = self._asked_to_share = False
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGUSR1, self._share)

    def _stop(self, _number: int, _frame: object) -> None:
        self._asked_to_stop = True

    def _share(self, _number: int, _frame: object) -> None:
        self._asked_to_share = True

    def run(self) -> None:
        """Run until the source ends (then wait to be ended) or the supervisor is gone."""
        self._due = time.monotonic()
        for item in self._source.samples():
            if isinstance(item, AgentError):
                self.meter.failed(item)
            elif item is not None:
                self._one(item)
                if self._period_s:
                    self._wait()
            if self._asked_to_share:
                self._leave_some()
            if time.perf_counter_ns() >= self.meter.due_ns:
                self._flush()
            if self._asked_to_stop:
                break
        self._end()
        if self._asked_to_stop:
            return
        self.meter.send({"type": "finished"})
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._control.recv(1)

    def _end(self) -> None:
        """Answer what was asked before, close both ends, and say what was measured."""
        if isinstance(self._source, Desk):
            for batch in self._source.rest():
                self._one(batch)
        self._source.close()
        self._sinks.close()
        self._flush()

    def _leave_some(self) -> None:
        self._asked_to_share = False
        if isinstance(self._source, Desk):
            self._source.share()

    def _wait(self) -> None:
        """Sleep until the next inference is due; periods that have passed are counted as dropped."""
        self._due += self._period_s
        late = time.monotonic() - self._due
        if late >= 0:
            missed = int(late / self._period_s)
            self.meter.dropped += missed
            self._due += missed * self._period_s
        while (left := self._due - time.monotonic()) > 0 and not self._asked_to_stop:
            time.sleep(min(left, meter.FLUSH_S))
            if time.perf_counter_ns() >= self.meter.due_ns:
                self._flush()  # a slow rate must not look like a hang

    def _one(self, sample: Sample | Batch) -> None:
        clock = time.perf_counter_ns
        if self._period_s and self._source.live:
            # it may have been waited for: that was not the device's fault
            self._due = max(self._due, time.monotonic())
        try:
            start = clock()
            prepared = self._source.prepare(sample)  # type: ignore[arg-type]  # its own
            ready = clock()
            outputs = self._session.invoke(prepared.arrays)
            inferred = clock()
            if isinstance(sample, Batch):
                sample.answer(outputs)
                answer = self._beside(outputs)
            else:
                answer = self._answer(outputs, prepared.placement)
            done = clock()
        except AgentError as exc:
            if isinstance(sample, Batch):
                sample.fail(str(exc))
            self.meter.failed(exc)
            return
        came = sample.came if isinstance(sample, Batch) else ()
        self.meter.came += came
        self.meter.readings += [(start, ready, inferred, done)] * (len(came) or 1)
        self.meter.statistics.add(prepared.arrays, answer, done, sample.label)
        if self._telling:
            self._sinks.put(lambda: {"ts": time.time_ns() // 1_000_000, **self._about, **self._answering.told(answer)})

    def _beside(self, outputs: list[Array]) -> Answer:
        """Return what is counted of an application's request, which has its outputs already."""
        one = all(len(output) == 1 for output in outputs)
        if not one or not (self._telling or self._answering.kind == "classes"):
            return Answer(outputs)
        try:
            return self._answer(outputs)
        except AgentError as exc:
            self.meter.failed(exc)
            return Answer(outputs)

    def _flush(self) -> None:
        self._sinks.flush()
        for text in self._sinks.take_failures():
            self.meter.say("sink", text)
        counts: dict[str, Any] = {"sinks": self._sinks.take_counts()}
        gauges: dict[str, float] = {}
        if isinstance(self._source, Desk):
            counts["refused"] = self._source.refused()
            gauges["queue"] = self._source.waiting
        if not self._period_s:  # with a rate, those passed over are passed over as asked
            self.meter.dropped += self._source.dropped - self._overtaken
        self._overtaken = self._source.dropped
        self.meter.flush({name: one for name, one in counts.items() if one}, gauges, self._session.executed_on)
