"""The faults that a trial can be made to suffer, by kind."""

from __future__ import annotations

import random
import resource
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tests.chaos.points import ACTS, has_connection
from tests.chaos.postgres import empty, fill
from tests.chaos.trial import PATIENCE, ZOMBIE_SECONDS, Member, Trial

FIRE_SECONDS = 1.0
FIRE_TIMES = 3
EXTRA_SECONDS = 15.0
OWNS = "partition loaded"
"""What a worker's log says when it owns a partition."""
HOURS = 3600.0
PROVOKED = {"assign": signal.SIGKILL, "labels assign": signal.SIGKILL, "close": signal.SIGTERM}
"""Points that arise only when a worker comes or goes, and what makes one."""


@dataclass(frozen=True)
class Fault:
    """One fault. `chance` in [0, 1) chooses the point, the worker or the size, as it applies."""

    kind: str
    chance: float
    nth: int = 1
    seconds: float = 1.0


class Missed(Exception):
    """What a fault should have hit did not arise; another thing was done instead."""


class Faults:
    """Causes faults in one trial. Each method returns what it did, for the log.

    `choose` gives a point for an act, and whether it is the first try there. `more` sends more
    messages, for points that wait for some. `happened` counts the kinds that hit.
    """

    def __init__(
        self,
        trial: Trial,
        *,
        long_freeze: float,
        choose: Callable[[str, Sequence[str], float], tuple[str, bool]],
        more: Callable[[], None],
    ) -> None:
        self._trial = trial
        self._site = trial.site
        self._long_freeze = long_freeze
        self._choose = choose
        self._more = more
        self._extras = 0
        self.happened: Counter[str] = Counter()

    def cause(self, fault: Fault) -> str:
        """Make it happen, and undo it where that is part of it."""
        method: Callable[[Fault], str] = getattr(self, fault.kind)
        try:
            done = method(fault)
        except Missed as missed:
            return f"missed: {missed}"
        self.happened[fault.kind] += 1
        return done

    def _meanwhile_more(self, holds: Callable[[], bool]) -> bool:
        """Whether it holds within a short time, in which more and more messages come."""
        for _ in range(FIRE_TIMES):
            if self._trial.wait(holds, FIRE_SECONDS):
                return True
            self._more()
        return self._trial.wait(holds, FIRE_SECONDS)

    # -- workers ----------------------------------------------------------------------------

    def _at_point(self, fault: Fault, act: str) -> str:
        trial = self._trial
        points = [p for p in trial.census() if act in ACTS or has_connection(p)]
        point, first = self._choose(act, points, fault.chance)
        order = trial.order(point, act, fault.nth if first else 1)
        about = point.split(" before ")[0].split(" after ")[0].split(" within ")[0]
        if about in PROVOKED and (awake := trial.awake()):
            trial.signal(awake[0], PROVOKED[about])
        if self._meanwhile_more(lambda: trial.taken(order)):
            return f"at {point!r}"
        # The order stands until the round ends: rare points arise when they like.
        raise Missed(f"{point!r} did not arise yet; {self.kill(fault)}")

    def kill_at(self, fault: Fault) -> str:
        """kill -9 at a named point."""
        return self._at_point(fault, "kill")

    def freeze_at(self, fault: Fault) -> str:
        """Freeze at a named point, past the session: a zombie when it wakes."""
        return self._at_point(fault, "freeze")

    def term_at(self, fault: Fault) -> str:
        """SIGTERM at a named point: in the middle of a batch."""
        return self._at_point(fault, "term")

    def cut_at(self, fault: Fault) -> str:
        """A connection is cut at a named point: the next statement fails."""
        return self._at_point(fault, "cut")

    def deafen_at(self, fault: Fault) -> str:
        """A connection goes deaf at a named point: what comes next is done, and not answered."""
        return self._at_point(fault, "deafen")

    def _any(self, fault: Fault, number: int, done: str) -> str:
        # Shortly after other faults nobody may be there: a fault that hits nobody is none.
        self._trial.wait(lambda: bool(self._trial.awake()), PATIENCE, "a worker is awake")
        awake = self._trial.awake()
        member = awake[int(fault.chance * len(awake))]
        self._trial.signal(member, number)
        return f"{member.slot} {done}"

    def kill(self, fault: Fault) -> str:
        """kill -9 at a random moment."""
        return self._any(fault, signal.SIGKILL, "killed")

    def freeze(self, fault: Fault) -> str:
        """Freeze at a random moment, past the session; waking it is the trial's work."""
        return self._any(fault, signal.SIGSTOP, f"frozen for {ZOMBIE_SECONDS} s")

    def term(self, fault: Fault) -> str:
        """A member leaves in good order and comes back."""
        return self._any(fault, signal.SIGTERM, "told to stop")

    def _extra(self, group: str) -> Member:
        """One more worker, when it owns something."""
        self._extras += 1
        member = self._trial.spawn(f"{group or 'guest'}-{self._extras}", group=group)

        def owns() -> bool:
            log = Path(member.spec.log)
            return log.is_file() and OWNS in log.read_text(errors="replace")

        if not self._trial.wait(owns, EXTRA_SECONDS):
            self._trial.leave(member)
            raise Missed(f"{member.slot} got no partition")
        return member

    def join(self, fault: Fault) -> str:
        """Another member joins the group, and leaves a little later."""
        member = self._extra("")
        self._trial.later(fault.seconds, lambda: self._trial.leave(member))
        return f"{member.slot} joined for {fault.seconds:.1f} s"

    def twin(self, fault: Fault) -> str:
        """A worker of another group is handed every partition: each has two owners."""
        member = self._extra("twin")
        end = signal.SIGKILL if fault.chance < 0.5 else signal.SIGTERM
        self._trial.later(1 + fault.seconds, lambda: self._trial.signal(member, end))
        return f"{member.slot} owns everything too, for {1 + fault.seconds:.1f} s, then {end.name}"

    def clock(self, fault: Fault) -> str:
        """All workers' clocks jump, up to two days forward or backward, and back later."""
        wrong_by = (fault.chance - 0.5) * 96 * HOURS
        self._trial.set_clock(wrong_by)
        self._trial.later(fault.seconds, lambda: self._trial.set_clock(0))
        return f"clocks wrong by {wrong_by / HOURS:+.1f} h for {fault.seconds:.1f} s"

    # -- PostgreSQL -------------------------------------------------------------------------

    def postgres_kill(self, fault: Fault) -> str:
        """kill -9 of PostgreSQL and all its children; it recovers."""
        self._site.postgres.kill()
        self._trial.rest(fault.seconds / 2)
        self._site.postgres.start()
        return "PostgreSQL killed and started"

    def cut(self, fault: Fault) -> str:
        """All connections are cut."""
        self._site.proxy.cut()
        return "connections cut"

    def cut_within(self, fault: Fault) -> str:
        """A connection is cut in mid-statement: after a part of it went to the server."""
        proxy, size = self._site.proxy, int(fault.chance * 40_000)
        before = proxy.cuts
        proxy.cut_after(size)
        happened = self._meanwhile_more(lambda: proxy.cuts > before)
        proxy.never_mind()
        if not happened:
            raise Missed(f"no {size} bytes went: {self.cut(fault)}")
        return f"cut after {size} bytes"

    def hang(self, fault: Fault) -> str:
        """Connections hang, then go on or are cut."""
        self._site.proxy.hang()
        self._trial.rest(fault.seconds)
        cut = fault.chance < 0.5
        if cut:
            self._site.proxy.cut()
        self._site.proxy.go_on()
        return f"connections hung for {fault.seconds:.1f} s, then {'cut' if cut else 'went on'}"

    def database_full(self, fault: Fault) -> str:
        """The disk of PostgreSQL is full for a while.

        With a file system of its own it is really full. Where none can be mounted, the ledger
        refuses rows with PostgreSQL's own error for it.
        """
        postgres = self._site.postgres
        if not postgres.small_disk:
            return self._database_refuses(fault)
        before = postgres.refusals()
        fill(postgres.folder)
        self._trial.rest(fault.seconds)
        noticed = self._meanwhile_more(lambda: postgres.refusals() > before)
        empty(postgres.folder)
        if not postgres.alive():
            postgres.start()
            return "disk of PostgreSQL full until it died; started again"
        if not noticed:
            raise Missed("the disk of PostgreSQL was full and nothing needed it")
        return f"disk of PostgreSQL full for {fault.seconds:.1f} s"

    def _database_refuses(self, fault: Fault) -> str:
        sessions = self._site.sessions(self._trial.database)
        try:
            with sessions.begin() as session:
                session.execute(text(_REFUSE))
        except DBAPIError as error:
            raise Missed(f"the ledger was busy ({type(error.orig).__name__})") from error
        self._trial.rest(fault.seconds)
        with sessions.begin() as session:
            session.execute(text("DROP TRIGGER chaos_full ON ledger"))
        return f"the ledger refused rows for want of disk for {fault.seconds:.1f} s"

    # -- the stream -------------------------------------------------------------------------

    def broker_kill(self, fault: Fault) -> str:
        """kill -9 of the broker; it starts on what is on its disk."""
        broker = self._site.broker
        assert broker is not None
        broker.kill()
        self._trial.rest(fault.seconds)
        broker.start()
        return "broker killed and started"

    def broker_freeze(self, fault: Fault) -> str:
        """The broker keeps its connections and answers nothing."""
        return self._broker_frozen(2 + fault.seconds)

    def broker_long_freeze(self, fault: Fault) -> str:
        """The same, past every time limit that a worker has for it."""
        return self._broker_frozen(self._long_freeze)

    def _broker_frozen(self, seconds: float) -> str:
        broker = self._site.broker
        assert broker is not None
        broker.freeze()
        self._trial.rest(seconds)
        broker.thaw()
        return f"broker frozen for {seconds:.1f} s"

    def stream_full(self, fault: Fault) -> str:
        """The disk of the file carrier is full for a while.

        With a file system of its own it is really full. Where none can be mounted, workers may
        not make any file longer than the inputs are.
        """
        trial = self._trial
        if trial.small_disk:
            fill(trial.stream)
            trial.rest(fault.seconds)
            empty(trial.stream)
            return f"disk of the stream full for {fault.seconds:.1f} s"
        pids = [member.pid for member in trial.awake()]
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        for pid in pids:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        trial.rest(fault.seconds)
        for pid in pids:
            try:
                resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
            except ProcessLookupError:
                continue  # it ended meanwhile, and its limit with it
        return f"files of {len(pids)} workers limited for {fault.seconds:.1f} s"


_REFUSE = """
SET LOCAL lock_timeout = '2s';
CREATE OR REPLACE FUNCTION chaos_full() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN RAISE EXCEPTION 'could not extend file: no space' USING ERRCODE = '53100'; END $$;
CREATE TRIGGER chaos_full BEFORE INSERT ON ledger FOR EACH ROW EXECUTE FUNCTION chaos_full()
"""

COMMON = {
    "kill_at": 30,
    "freeze_at": 8,
    "term_at": 8,
    "cut_at": 8,
    "deafen_at": 10,
    "kill": 8,
    "freeze": 3,
    "term": 3,
    "join": 3,
    "twin": 6,
    "clock": 5,
    "postgres_kill": 4,
    "cut": 4,
    "cut_within": 8,
    "hang": 3,
    "database_full": 4,
}
"""Kinds and how often each comes, on either carrier."""
ON_KAFKA = {"broker_kill": 1, "broker_freeze": 2}
ON_FILES = {"stream_full": 10}
RARE = "broker_long_freeze"
KINDS = (*COMMON, *ON_KAFKA, *ON_FILES, RARE)


def schedule(seed: str, count: int, carrier: str, *, long_freezes: int = 0) -> list[Fault]:
    """That many faults, the same for each seed: first one of each kind, then by weight."""
    rng = random.Random(f"{seed}/{carrier}")
    weights = COMMON | (ON_KAFKA if carrier == "kafka" else ON_FILES)
    kinds = list(weights)
    rng.shuffle(kinds)
    kinds = kinds[:count] + rng.choices(
        list(weights), list(weights.values()), k=max(0, count - len(kinds))
    )
    kinds[: min(long_freezes, count)] = [RARE] * min(long_freezes, count)
    rng.shuffle(kinds)
    return [
        Fault(kind, rng.random(), rng.choice((1, 1, 2, 3)), rng.uniform(0.5, 1.5)) for kind in kinds
    ]
