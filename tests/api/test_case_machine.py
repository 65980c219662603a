"""Any sequence of acts by several people, the stream, time and customers keeps the promises."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from datetime import timedelta
from decimal import Decimal

from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy.orm import Session

from fraudwatch.casework import (
    audit,
    claims,
    contradictions,
    disputes,
    handling,
    holds,
    intake,
    joining,
    late,
    next_case,
    opening,
    resolutions,
    second_looks,
)
from fraudwatch.casework.auth import actor_of
from fraudwatch.casework.case_rows import Act
from fraudwatch.casework.models import Alert, Case
from fraudwatch.casework.second_looks import NewRules
from fraudwatch.domain.access import Actor, Role
from fraudwatch.domain.case import OPEN
from fraudwatch.domain.decision import Outcome, Rule
from fraudwatch.domain.finding import Differing, Finding
from fraudwatch.domain.label import PRECEDENCE, Label, LabelSource
from fraudwatch.domain.reason_codes import REASON_CODES, Resolution
from fraudwatch.errors import Conflict, Invalid, NotAllowed, NotFound
from tests.api.case_checks import check
from tests.api.conftest import Api
from tests.api.seed import Seed

LEASE = timedelta(minutes=15)
KEY = b"k"
ACTS = (
    *("alert", "next", "next", "claim", "claim", "renew", "release", "take_over", "see", "note"),
    *("wait", "escalate", "decide", "decide", "agree", "agree", "reopen", "truth", "dispute"),
    *("link", "merge", "merge", "open", "time", "time", "rules"),
)
CODES = {
    kind: [code.code for code in REASON_CODES.values() if code.resolution is kind]
    for kind in Resolution
}
OWN = CODES[Resolution.LEGITIMATE][0]


class World:
    """What all examples share: the database, the people, and how often each act was carried out."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.done: Counter[str] = Counter()
        self.offsets = itertools.count()
        self.examples = itertools.count()
        roles = (Role.ANALYST, Role.ANALYST, Role.ANALYST, Role.SENIOR, Role.SENIOR)
        with api.seed() as rows:
            self.people = [actor_of(rows.user(f"p-{n}", role)) for n, role in enumerate(roles)]
            self.officer = actor_of(rows.user("officer", Role.RISK_OFFICER))
            self.portal = actor_of(rows.user("portal", Role.CUSTOMER_PORTAL))


class CaseMachine(RuleBasedStateMachine):
    """Each act is a transaction: it commits, or changes nothing. Accounts are the example's own."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        number = next(world.examples)
        self.accounts = [f"acc-{number}-{letter}" for letter in "abcd"]
        for place in range(3):
            self.alert(place, drawn=place == 0, high=place == 1)

    @property
    def now(self):  # type: ignore[no-untyped-def]
        return self.world.api.clock.now()

    def _try(self, name: str, work) -> None:  # type: ignore[no-untyped-def]
        try:
            with self.world.api.services.sessions.begin() as session:
                work(session)
        except (Conflict, NotAllowed, NotFound, Invalid):
            return
        self.world.done[name] += 1

    def _case(self, session: Session, pick: int, *statuses: str) -> Case:
        """One of the example's cases, of these states where there is one."""
        cases = session.query(Case).filter(Case.account_id.in_(self.accounts)).order_by(Case.id)
        found = [case for case in cases if case.status in statuses] or cases.all()
        if not found:
            raise Conflict("no case yet")
        return found[pick % len(found)]

    def _mine(self, session: Session, who: int, pick: int) -> tuple[Case, Act]:
        """A held case and an act of its holder; now and then somebody else's on any case."""
        cases = session.query(Case).filter(Case.account_id.in_(self.accounts))
        held = cases.filter(Case.claimed_by.is_not(None)).order_by(Case.id).all()
        if not held or who == 0:
            case = self._case(session, pick)
            return case, self._act(self.world.people[who], case)
        case = held[pick % len(held)]
        holder = next(p for p in self.world.people if p.user_id == case.claimed_by)
        return case, self._act(holder, case)

    def _act(self, actor: Actor, case: Case) -> Act:
        return Act(actor, self.now, case.version)

    @rule(seed=st.integers(0, 2**62))
    def step(self, seed: int) -> None:
        """One act. Drawn from a number: what Hypothesis draws by itself favours few of the acts."""
        note(f"{seed}: {random.Random(seed).choice(ACTS)}")
        self.walk(seed)

    def walk(self, seed: int) -> None:
        """The act that belongs to this number."""
        draw = random.Random(seed)
        name, found, yes = draw.choice(ACTS), draw.choice(list(Resolution)), draw.random() < 0.5
        who, pick, other = draw.randrange(5), draw.randrange(1000), draw.randrange(1000)
        senior, place = 3 + who % 2, pick % 3
        {
            "alert": lambda: self.alert(place, drawn=yes, high=other % 2 == 0),
            "next": lambda: self.next(who),
            "claim": lambda: self.claim(who, pick),
            "renew": lambda: self.renew(who, pick),
            "release": lambda: self.release(who, pick),
            "take_over": lambda: self.take_over(senior, pick),
            "see": lambda: self.see(who, pick),
            "note": lambda: self.note(who, pick),
            "wait": lambda: self.wait(who, pick, (10, 60)[yes]),
            "escalate": lambda: self.escalate(who, pick),
            "decide": lambda: self.decide(who, pick, found, own=yes),
            "agree": lambda: self.decide(who, pick, Resolution.LEGITIMATE, own=False),
            "reopen": lambda: self.reopen(senior, pick, uphold=yes),
            "truth": lambda: self.truth(pick, fraud=yes),
            "dispute": lambda: self.dispute(pick, other),
            "link": lambda: self.link(who, pick, other),
            "merge": lambda: self.merge(who, pick, other),
            "open": lambda: self.open(who, pick % 4),  # the fourth account begins without
            "time": lambda: self.time_passes((1, 20, 1500)[other % 3]),
            "rules": lambda: self.set_rules((None, 20)[yes], (0.0, 0.5)[other % 2]),
        }[name]()

    def alert(self, place: int, drawn: bool, high: bool) -> None:
        def work(session: Session) -> None:
            seed = Seed(session, self.now, self.world.offsets)
            sort = Rule.BLIND_SPOT if drawn else Rule.RISK
            outcome = Outcome.AUTO_CLEAR if drawn else Outcome(1 + high)
            row = seed.transaction(self.accounts[place], outcome=outcome, rule=sort)
            session.flush()
            new = intake.NewAlert(
                row.partition,
                row.offset,
                row.transaction_id,
                row.account_id,
                row.event_time,
                row.outcome,
                row.rule,
                row.risk,
                0.99,
                row.amount,
            )
            intake.open_cases(session, [new], self.now)

        self._try("alert", work)

    def next(self, who: int) -> None:
        def work(session: Session) -> None:
            next_case.next_case(session, self.world.people[who], now=self.now, lease=LEASE)

        self._try("next", work)

    def claim(self, who: int, pick: int) -> None:
        def work(session: Session) -> None:
            case = self._case(session, pick, *OPEN)
            claims.claim(session, case.id, self._act(self.world.people[who], case), lease=LEASE)

        self._try("claim", work)

    def renew(self, who: int, pick: int) -> None:
        def work(session: Session) -> None:
            case, act = self._mine(session, who, pick)
            claims.renew(session, case.id, act, lease=LEASE)

        self._try("renew", work)

    def release(self, who: int, pick: int) -> None:
        def work(session: Session) -> None:
            case, act = self._mine(session, who, pick)
            claims.release(session, case.id, act)

        self._try("release", work)

    def take_over(self, who: int, pick: int) -> None:
        def work(session: Session) -> None:
            case = self._case(session, pick, "claimed", "second_look")
            act = self._act(self.world.people[who], case)
            claims.take_over(session, case.id, act, reason="x", lease=LEASE)

        self._try("take_over", work)

    def see(self, who: int, pick: int) -> None:
        def work(session: Session) -> None:
            case, act = self._mine(session, who, pick)
            claims.see(session, case.id, act)

        self._try("see", work)

    def note(self, who: int, pick: int) -> None:
        def work(session: Session) -> None:
            case = self._case(session, pick)
            handling.note(session, case.id, self._act(self.world.people[who], case), text="x")

        self._try("note", work)

    def wait(self, who: int, pick: int, minutes: int) -> None:
        def work(session: Session) -> None:
            case, act = self._mine(session, who, pick)
            until = self.now + timedelta(minutes=minutes)
            handling.wait(session, case.id, act, until=until, reason="x")

        self._try("wait", work)

    def escalate(self, who: int, pick: int) -> None:
        def work(session: Session) -> None:
            case, act = self._mine(session, who, pick)
            handling.escalate(session, case.id, act, reason="x")

        self._try("escalate", work)

    def decide(self, who: int, pick: int, found: Resolution, own: bool) -> None:
        def work(session: Session) -> None:
            case, act = self._mine(session, who, pick)
            running = case.claimed_by == act.actor.user_id and case.lease_until is not None
            running = running and case.lease_until > self.now
            ids = [a.transaction_id for a in session.query(Alert).filter_by(case_id=case.id)]
            differing: tuple[Differing, ...] = ()
            if own and found is Resolution.FRAUD and len(ids) > 1:
                differing = (Differing(min(ids), Resolution.LEGITIMATE, (OWN,)),)
            codes = (CODES[found][pick % len(CODES[found])],)
            finding = Finding(found, codes, "because", differing)
            resolutions.decide(session, case.id, act, finding, key=KEY, topic="outcomes")
            assert running, "only the holder of a running lease decides"
            self.world.done[f"decide: {case.status}"] += 1

        self._try("decide", work)

    def reopen(self, who: int, pick: int, uphold: bool) -> None:
        def work(session: Session) -> None:
            case = self._case(session, pick, "resolved")
            act = self._act(self.world.people[who], case)
            if uphold:
                resolutions.uphold(session, case.id, act, reason="x")
            else:
                resolutions.reopen(session, case.id, act, reason="x")

        self._try("uphold" if uphold else "reopen", work)

    def truth(self, pick: int, fraud: bool) -> None:
        def work(session: Session) -> None:
            case = self._case(session, pick, "resolved")
            alert = session.query(Alert).filter_by(case_id=case.id).first()
            if alert is None:
                raise NotFound("no alert")
            source = LabelSource.CHARGEBACK
            label = Label(alert.transaction_id, fraud, source, self.now, PRECEDENCE[source])
            if not contradictions.raise_for(session, [label], self.now):
                raise Conflict("nothing to raise")

        self._try("truth", work)

    def dispute(self, pick: int, which: int) -> None:
        def work(session: Session) -> None:
            case = self._case(session, pick, "resolved")
            alerts = session.query(Alert).filter_by(case_id=case.id).order_by(Alert.id).all()
            if not alerts:
                raise NotFound("no alert")
            token = holds.make(alerts[which % len(alerts)].id, KEY)
            disputes.open_dispute(
                session, self.world.portal, token=token, statement="", key=KEY, now=self.now
            )

        self._try("dispute", work)

    def link(self, who: int, pick: int, other: int) -> None:
        def work(session: Session) -> None:
            case = self._case(session, pick)
            act = self._act(self.world.people[who], case)
            joining.link(session, case.id, act, other_id=self._case(session, other).id, reason="x")

        self._try("link", work)

    def merge(self, who: int, pick: int, other: int) -> None:
        def work(session: Session) -> None:
            case, act = self._mine(session, who, pick)
            into = self._case(session, other, *OPEN)
            joining.merge(
                session,
                case.id,
                act,
                other_id=into.id,
                other_version=into.version,
                reason="x",
            )

        self._try("merge", work)

    def open(self, who: int, place: int) -> None:
        def work(session: Session) -> None:
            act = Act(self.world.people[who], self.now)
            account = self.accounts[place]
            opening.open_case(session, act, account_id=account, reason="x", transaction_ids=())

        self._try("open", work)

    def time_passes(self, minutes: int) -> None:
        self.world.api.clock.moment += timedelta(minutes=minutes)

        def work(session: Session) -> None:
            if not late.escalate_late(session, self.now):
                raise Conflict("nothing is late")

        self._try("late", work)

    def set_rules(self, amount: int | None, share: float) -> None:
        def work(session: Session) -> None:
            limit = None if amount is None else Decimal(amount)
            new = NewRules(limit, ("scam",), share, 24, "x")
            second_looks.set_rules(session, self.world.officer, new, now=self.now)

        self._try("set_rules", work)

    @invariant()
    def promises_are_kept(self) -> None:
        with self.world.api.services.sessions() as session:
            check(session, self.accounts)


def test_any_sequence_of_acts_keeps_the_promises(api: Api) -> None:
    """One decision at a time, by a person, told once; leases end; nothing is left half done."""
    world = World(api)
    for part in range(5):
        walk = CaseMachine(world)
        for number in range(180):
            walk.walk(part * 1000 + number)
            if number % 5 == 0:
                walk.promises_are_kept()
    run_state_machine_as_test(
        lambda: CaseMachine(world),  # type: ignore[arg-type]
        settings=settings(
            max_examples=5,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    missed = {
        "alert",
        "next",
        "claim",
        "renew",
        "release",
        "take_over",
        "see",
        "note",
        "wait",
        "escalate",
        "decide: resolved",
        "decide: second_look",
        "reopen",
        "truth",
        "dispute",
        "link",
        "merge",
        "open",
        "late",
        "set_rules",
    } - set(world.done)
    assert missed == set(), f"never carried out: {missed}; {world.done}"
    with api.services.sessions() as session:
        assert audit.verify(session).ok
