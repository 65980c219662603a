"""One trial: a database and topics of its own, the workers on them, and who restarts them."""

from __future__ import annotations

import json
import os
import signal
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from fraudwatch.errors import Unavailable
from fraudwatch.settings import Settings, load_settings
from streams.carriers import open_publisher
from streams.source import Message
from streams.topics import create_topics
from tests.chaos import people
from tests.chaos.contents import contents
from tests.chaos.postgres import mount, unmount
from tests.chaos.site import Site
from tests.chaos.traffic import Chunk
from tests.chaos.worker import NOT_STARTED, JumpingClock, Spec

PATIENCE = 120.0
PARTITIONS = 4
ZOMBIE_SECONDS = 2.5
SESSION_SECONDS = 1.5
"""A worker silent for this long loses its partitions: shorter than a zombie sleeps."""
RESTART_SECONDS = 0.5
STREAM_MEGABYTES = 64
SECRET = "chaos " * 8

_REACHED = "SELECT topic, partition, next_offset, published_offset FROM stream_offsets"
_WAITING = "SELECT count(*) FROM outbox WHERE published_at IS NULL"

Carrier = Literal["kafka", "file"]


@dataclass
class Member:
    """A worker process. `doomed`: we killed it; `leaving`: it was told to stop."""

    slot: str
    pid: int
    spec: Spec
    doomed: bool = False
    leaving: bool = False
    frozen: bool = False


@dataclass(frozen=True)
class Stand:
    """By topic and partition how far it is taken in, and how far its decisions are published; and
    how many messages wait in the outbox."""

    reached: Mapping[tuple[str, int], tuple[int, int]]
    waiting: int


class Trial:
    """Feeds messages, keeps workers running as a supervisor does, and can be brought to rest."""

    def __init__(self, site: Site, carrier: Carrier, *, slots: int = 3) -> None:
        self.site = site
        self.carrier = carrier
        self.name = uuid.uuid4().hex[:8]
        self.database = site.new_database()
        self.folder = site.folder / self.name
        self.control = self.folder / "control"
        for folder in (self.control / "orders", self.control / "taken", self.stream):
            folder.mkdir(parents=True)
        (self.control / "census").touch()
        self.small_disk = carrier == "file" and mount(self.stream, STREAM_MEGABYTES)
        self.settings = self._settings(self.database, site.proxy.port, "")
        self._reference: Settings | None = None
        create_topics(self.settings)
        self.slots = [f"worker-{number}" for number in range(slots)]
        self.members: dict[str, Member] = {}
        self.crashes: list[str] = []
        self.bug = ""
        self.wakes = True  # whether a frozen worker goes on by itself after a while
        self._feeder = open_publisher(self.settings, JumpingClock(self.folder / "right"))
        self._later: list[tuple[float, Callable[[], None]]] = []
        self._orders = 0
        self._looked_into: dict[tuple[str, int], int] | None = None

    @property
    def stream(self) -> Path:
        """Where the file carrier's stream is."""
        return self.folder / "stream"

    @property
    def reference(self) -> Settings:
        """Of the reference run: another database and other topics to publish to."""
        if self._reference is None:
            self._reference = self._settings(self.site.new_database(), None, "reference.")
            create_topics(self._reference)
        return self._reference

    def _settings(self, database: str, port: int | None, prefix: str) -> Settings:
        topics = ("transactions", "labels")
        out = ("decisions", "outcomes", "dead_letters")
        broker = self.site.broker
        kafka = f"kafka://{broker.bootstrap}" if broker and self.carrier == "kafka" else ""
        fields: dict[str, object] = {
            "data_dir": self.site.folder / "data",
            "database_url": self.site.postgres.url(database, port).render_as_string(
                hide_password=False
            ),
            "stream_url": kafka or f"file://{self.stream}",
            "partitions": PARTITIONS,
            "secret_key": SECRET,
            "consumer_group": f"{self.name}.{prefix}main",
            "batch_rows": 40,
            "snapshot_rows": 60,
            "dead_letter_share": 0.9,
            **{f"topic_{name}": f"{self.name}.{name}" for name in topics},
            **{f"topic_{name}": f"{self.name}.{prefix}{name}" for name in out},
        }
        return load_settings(**fields)

    # -- workers ----------------------------------------------------------------------------

    def spawn(self, slot: str, *, group: str = "", settings: Settings | None = None) -> Member:
        """Start a worker; `group` other than ours makes a second owner of every partition."""
        chosen = settings or self.settings
        environment = _environment(chosen)
        if group:
            environment["FRAUDWATCH_CONSUMER_GROUP"] = f"{self.name}.{group}"
        spec = Spec(
            slot,
            str(self.control),
            str(self.folder / f"{slot}.log"),
            environment,
            SESSION_SECONDS,
            serial=settings is not None,
            bug=self.bug if settings is None else "",
        )
        member = Member(slot, self.site.nursery.spawn(spec), spec)
        self.members[slot] = member
        return member

    def start(self) -> None:
        """Start the workers that are always there."""
        for slot in self.slots:
            self.spawn(slot)

    def signal(self, member: Member, number: int) -> None:
        """Kill, freeze or stop a worker, unless it is known to have ended: its number may be that
        of another process by now."""
        if self.members.get(member.slot) is not member:
            return
        member.doomed |= number == signal.SIGKILL
        member.leaving |= number == signal.SIGTERM
        try:
            os.kill(member.pid, number)
        except ProcessLookupError:
            return  # it has just ended by itself: `tick` hears of it

    def leave(self, member: Member) -> None:
        """Have an extra worker end in good order and not come back."""
        self.signal(member, signal.SIGTERM)

    def awake(self) -> list[Member]:
        """Workers that run, those that were told to stop left out."""
        return [m for m in self.members.values() if not (m.frozen or m.doomed or m.leaving)]

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Do it in a while, at a tick."""
        self._later.append((time.monotonic() + seconds, action))

    def tick(self) -> None:
        """Hear of ends, restart as a supervisor would, wake who has slept long enough."""
        now = time.monotonic()
        due = [action for at, action in self._later if at <= now]
        self._later = [entry for entry in self._later if entry[0] > now]
        for action in due:
            action()
        nursery = self.site.nursery
        nursery.listen()
        for member in list(self.members.values()):
            if member.pid in nursery.ended:
                self._ended(member, nursery.ended[member.pid])
            elif member.pid in nursery.stopped and not member.frozen:
                member.frozen = True
                if self.wakes:
                    self.later(ZOMBIE_SECONDS, lambda member=member: self.wake(member))  # type: ignore[misc]

    def wake(self, member: Member) -> None:
        member.frozen = False
        self.site.nursery.stopped.discard(member.pid)
        self.signal(member, signal.SIGCONT)

    def _ended(self, member: Member, status: int) -> None:
        del self.members[member.slot]
        if status not in self._asked_for(member):
            log = Path(member.spec.log).read_text(errors="replace")
            self.crashes.append(f"{member.slot} ended with {status}: {log[-3000:]}")
        if member.slot in self.slots:
            wait = RESTART_SECONDS if status == NOT_STARTED else 0.0
            self.later(wait, lambda: self._restart(member.slot))

    def _asked_for(self, member: Member) -> set[int]:
        """Exit codes that are no crash: those of what was done to the worker, or that it was
        ordered to do to itself."""
        acts = {order["act"] for order in self.obeyed(str(member.pid))}
        codes = {NOT_STARTED}
        if member.doomed or "kill" in acts:
            codes.add(-signal.SIGKILL)
        if member.leaving or "term" in acts:
            # One that was told to stop before it listens for that ends by the signal itself.
            codes |= {0, -signal.SIGTERM}
        return codes

    def _restart(self, slot: str) -> None:
        if slot in self.slots:
            self.spawn(slot)

    def wait(
        self,
        holds: Callable[[], bool],
        seconds: float,
        what: str = "",
        *,
        pause: float = 0.02,
        progress: Callable[[], object] = lambda: None,
    ) -> bool:
        """Tick until it holds. After that many seconds without `progress`: False, or `TimeoutError`
        if `what`. A loaded machine is slow, but comes on: only a standstill ends patience."""
        deadline = time.monotonic() + seconds
        come = progress()
        while True:
            self.tick()
            if holds():
                return True
            if (now := progress()) != come:
                come, deadline = now, time.monotonic() + seconds
            if time.monotonic() > deadline:
                if what:
                    raise TimeoutError(f"waited {seconds} s in vain: {what}; {self._told()}")
                return False
            time.sleep(pause)

    def rest(self, seconds: float) -> None:
        """Let things happen for a while."""
        self.wait(lambda: False, seconds)

    def _told(self) -> str:
        logs = sorted(self.folder.glob("*.log"))
        return "\n".join(f"{log.name}: {log.read_text(errors='replace')[-1500:]}" for log in logs)

    # -- orders -----------------------------------------------------------------------------

    def order(self, point: str, act: str, nth: int = 1) -> Path:
        """Have the first worker that comes to the point do this to itself."""
        self._orders += 1
        path = self.control / "orders" / str(self._orders)
        draft = self.control / "draft"
        draft.write_text(json.dumps({"point": point, "act": act, "nth": nth}))
        draft.rename(path)
        return path

    def taken(self, order: Path) -> bool:
        return any((self.control / "taken").glob(f"{order.name}.*"))

    def obeyed(self, pid: str = "*") -> list[dict[str, str]]:
        """Orders that were carried out, by one process or by all."""
        return [json.loads(path.read_bytes()) for path in (self.control / "taken").glob(f"*.{pid}")]

    def census(self) -> list[str]:
        """Every point that arose so far."""
        return sorted(set((self.control / "census").read_text().splitlines()))

    def set_clock(self, wrong_by: float) -> None:
        """Set the clock of all workers wrong by so many seconds."""
        draft = self.control / "clock.new"
        draft.write_text(str(wrong_by))
        draft.rename(self.control / "clock")

    # -- messages ---------------------------------------------------------------------------

    def feed(self, chunk: Chunk) -> None:
        """Send a chunk, again and again while the stream is away: repeats are repeats."""
        if self._looked_into is not None:
            chunk = people.without_looked_into(chunk)
        self._send(self.settings.topic_transactions, chunk.transactions)
        self._send(self.settings.topic_labels, chunk.labels)

    def _send(self, topic: str, messages: list[Message]) -> None:
        def sent() -> bool:
            try:
                self._feeder.send(topic, messages)
            except Unavailable:
                return False
            return True

        self.wait(sent, PATIENCE, f"{topic} takes messages")

    # -- people -----------------------------------------------------------------------------

    def look_into(self) -> None:
        """From now on an analyst decides the cases of some accounts, which pay no more."""
        self._looked_into = self._ends(self.settings)

    def decide(self, limit: int | None = None) -> int:
        """Decide cases, unless an alert of theirs may still be on its way; returns how many."""
        if self._looked_into is None or not self._reached(self.settings, self._looked_into):
            return 0
        sessions = self.site.sessions(self.database)
        return people.decide(sessions, self.settings.topic_outcomes, limit)

    # -- the end ----------------------------------------------------------------------------

    def come_to_rest(self, patience: float = PATIENCE) -> None:
        """Let the workers take in all that was sent, publish it, and stop in good order."""
        self.set_clock(0)
        for order in (self.control / "orders").iterdir():
            order.unlink(missing_ok=True)
        self.settle(self.settings, patience)
        if self.decide():
            self.settle(self.settings, patience)
        self.stop()

    def settle(self, settings: Settings, patience: float = PATIENCE) -> None:
        """Wait until everything in the input topics is taken in and everything is published."""
        ends = self._ends(settings)
        self.wait(
            lambda: self._reached(settings, ends, published=True),
            patience,
            "all taken in and published",
            pause=0.1,
            progress=lambda: self._stand(settings),
        )

    def _ends(self, settings: Settings) -> dict[tuple[str, int], int]:
        return {
            (topic, partition): end
            for topic in (settings.topic_transactions, settings.topic_labels)
            for partition, (end, _) in contents(settings, topic).items()
        }

    def _stand(self, settings: Settings) -> Stand | None:
        """How far all is taken in and published; None while the database is away."""
        try:
            with self.site.sessions(database_of(settings))() as session:
                rows = session.execute(text(_REACHED)).all()
                waiting = session.scalar(text(_WAITING)) or 0
        except DBAPIError:
            return None
        return Stand({(row.topic, row.partition): (row[2], row[3]) for row in rows}, waiting)

    def _reached(
        self, settings: Settings, ends: Mapping[tuple[str, int], int], *, published: bool = False
    ) -> bool:
        stand = self._stand(settings)
        if stand is None:
            return False
        for place, end in ends.items():
            taken, told = stand.reached.get(place, (0, 0))
            decisions = published and place[0] == settings.topic_transactions
            if taken < end or (decisions and told < end):
                return False
        return not (published and stand.waiting)

    def stop(self) -> None:
        """Stop all workers in good order; one that does not end is a crash."""
        for _, action in self._later:
            action()
        self._later = []
        self.slots = []
        for member in list(self.members.values()):
            self.wake(member)
            self.leave(member)
        self.wait(lambda: not self.members, PATIENCE, "workers stop when told to")

    def run_reference(self) -> None:
        """One worker, no faults, one partition's batch at a time, into the other database."""
        larger = replace_fields(self.reference, batch_rows=500)
        self.spawn("reference", settings=larger)
        self.settle(larger)
        if self._looked_into is not None:
            people.decide(self.site.sessions(database_of(larger)), larger.topic_outcomes)
            self.settle(larger)
        self.stop()

    def close(self) -> None:
        self.slots = []
        for member in list(self.members.values()):
            self.signal(member, signal.SIGKILL)
        self.wait(lambda: not self.members, PATIENCE, "killed workers are gone")
        self._feeder.close()
        if self.small_disk:
            unmount(self.stream)
        for settings in filter(None, (self.settings, self._reference)):
            self.site.drop_database(database_of(settings))


def replace_fields(settings: Settings, **fields: object) -> Settings:
    """The same settings but for these."""
    return settings.model_copy(update=fields)


def database_of(settings: Settings) -> str:
    """The name of the database that the settings point at."""
    return settings.database_url.split("?")[0].rsplit("/", 1)[1]


def _environment(settings: Settings) -> dict[str, str]:
    shown = settings.model_dump(exclude_unset=True)
    shown["secret_key"] = SECRET
    return {f"FRAUDWATCH_{name.upper()}": str(value) for name, value in shown.items()}
