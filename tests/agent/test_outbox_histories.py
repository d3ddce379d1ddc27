"""Whatever happens to messages, broker, host and agent: in the end nothing is missing, and late ones came in order."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit_agent.outbox import Outbox, Parcel
from edgekit_agent.protocol import Report, State
from edgekit_agent.spool import Limits
from tests.agent.crash_states import MemoryFiles
from tests.agent.spooling import Host, at, open_spool, put


class World:
    """An agent that can be killed, a broker that loses messages, a host that stores; each step is a method."""

    def __init__(self, *, hosted: bool) -> None:
        """Begin with a broker that is there again: one that was away is not believed at once that nobody listens."""
        self.files, self.host, self.hosted = MemoryFiles(), Host(), hosted
        self.now, self.made = 0.0, [0]
        self.flying: list[Parcel] = []
        self.start()

    def start(self) -> None:
        self.spool = open_spool(self.files)
        self.outbox = Outbox(self.spool, settle_s=0)
        self.outbox.disconnected()
        self.connect()

    def connect(self) -> None:
        self.outbox.connected(at(self.now))
        if self.hosted:
            self.outbox.host(State(state="online"))
        self.flying = []

    def put(self) -> None:
        self.made[-1] += 1
        put(self.outbox, self.made[-1], boot=str(len(self.made)), now=self.now)
        self.spool.sync()

    def send(self) -> None:
        self.flying += self.outbox.take(at(self.now))
        for parcel in self.flying[::2]:
            self.host.take(Report.from_bytes(parcel.payload))
            self.outbox.taken(parcel.position, at(self.now))
        self.flying = self.flying[1::2]

    def unheard(self) -> None:
        for parcel in self.flying[:1]:
            self.outbox.taken(parcel.position, at(self.now), heard=False)
        self.flying = self.flying[1:]

    def lose(self) -> None:
        self.outbox.disconnected()
        self.flying = []

    def acknowledge(self) -> None:
        for boot, mark in self.host.marks.items() if self.hosted else ():
            self.outbox.acknowledged(boot, mark, at(self.now))

    def host_away(self) -> None:
        if self.hosted:
            self.outbox.host(State(state="offline"))

    def kill(self) -> None:
        self.made.append(0)
        self.start()

    def wait(self) -> None:
        self.now += 100.0

    def end_well(self) -> None:
        """Let everything work until nothing is left."""
        self.connect()
        for _ in range(300):
            self.now += 5.0
            self.send()
            self.acknowledge()
            if not len(self.spool):
                break
        assert len(self.spool) == self.spool.dropped == 0
        wanted = {str(run): set(range(1, count + 1)) for run, count in enumerate(self.made, 1) if count}
        assert {boot: set(seqs) for boot, seqs in self.host.stored.items()} == wanted


STEPS = ("put", "put", "send", "send", "unheard", "lose", "connect", "acknowledge", "host_away", "kill", "wait")


@settings(max_examples=150, deadline=None)
@given(hosted=st.booleans(), steps=st.lists(st.sampled_from(STEPS), max_size=60))
def test_in_the_end_every_report_has_arrived(hosted: bool, steps: Sequence[str]) -> None:
    world = World(hosted=hosted)
    for step in steps:
        if step != "wait" or hosted:  # after a minute a broker is believed that nobody listens
            world.now += 0.5
            getattr(world, step)()
    world.end_well()


def test_an_hour_without_a_broker_and_a_kill_in_the_middle_lose_nothing() -> None:
    """A report each ten seconds; the agent is killed after half an hour; everything comes late and in order."""
    files, host = MemoryFiles(), Host()
    spool = open_spool(files)
    outbox = Outbox(spool, settle_s=3)
    outbox.host(State(state="online"))
    outbox.disconnected()
    for half, boot in enumerate(("one", "two")):
        if half:
            spool = open_spool(files)
            outbox = Outbox(spool, settle_s=3)
            outbox.disconnected()
        for index in range(180):
            put(outbox, index + 1, boot=boot, now=1800 * half + 10 * index)
            spool.sync()
            assert outbox.take(at(1800 * half + 10 * index)) == []
    outbox.connected(at(3600))
    found, now = [], 3603.0
    while parcels := outbox.take(at(now)):
        for parcel in parcels:
            report = Report.from_bytes(parcel.payload)
            found.append((report.boot, report.seq, report.history))
            host.take(report)
            outbox.taken(parcel.position, at(now))
    assert found == [(boot, seq, 1) for boot in ("one", "two") for seq in range(1, 181)]
    for boot, mark in host.marks.items():
        outbox.acknowledged(boot, mark, at(now))
    assert len(spool) == spool.dropped == 0


def test_an_hour_without_a_broker_in_a_small_spool_keeps_the_newest_and_counts_the_rest() -> None:
    files, host = MemoryFiles(), Host()
    limits = Limits(disk_bytes=40_000, age_s=1e6, in_memory=10)
    spool = open_spool(files, limits)
    outbox = Outbox(spool, settle_s=3)
    outbox.host(State(state="online"))
    for index in range(360):
        if index == 180:
            spool = open_spool(files, limits)
            outbox = Outbox(spool, settle_s=3)
        put(outbox, index + 1, now=10 * index)
        spool.sync()
    outbox.connected(at(3600))
    while parcels := outbox.take(at(3600)):
        for parcel in parcels:
            host.take(Report.from_bytes(parcel.payload))
            outbox.taken(parcel.position, at(3600))
    kept = host.stored["b"]
    assert 30 < len(kept) < 360
    assert list(kept) == list(range(361 - len(kept), 361))
    assert spool.dropped == 360 - len(kept)
    assert host.marks["b"] == 360
