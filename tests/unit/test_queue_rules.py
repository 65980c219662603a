"""Every case is in exactly one queue, and none is overtaken for longer than the rules say."""

from __future__ import annotations

import heapq
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fraudwatch.domain.case import priority
from fraudwatch.domain.decision import Outcome
from fraudwatch.domain.queues import (
    REST,
    CaseFacts,
    Match,
    Queue,
    QueueRules,
    Worker,
    longest_overtaking,
    open_to,
    rank,
    standing,
    weight,
    works_in,
)
from fraudwatch.errors import Invalid

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
words = st.frozensets(st.sampled_from(["5411", "7995", "business", "fr", "en"]), max_size=3)
amounts = st.decimals(0, 10_000, places=2)
outcomes = st.sampled_from([Outcome.REVIEW, Outcome.HIGH_RISK])
facts = st.builds(CaseFacts, outcomes, amounts, words, words, words)
matches = st.builds(
    Match,
    st.none() | outcomes,
    st.none() | amounts,
    st.none() | amounts,
    words,
    words,
    words,
)
REST_QUEUE = Queue(REST, "All other cases")


@st.composite
def rules(draw: st.DrawFn) -> QueueRules:
    found = draw(st.lists(matches, max_size=6))
    queues = tuple(Queue(f"q{place}", "x", match) for place, match in enumerate(found))
    return QueueRules(1, (*queues, REST_QUEUE))


@given(rules(), facts)
def test_a_case_is_in_one_queue_the_first_that_takes_it(found: QueueRules, case: CaseFacts) -> None:
    queue = found.of(case)
    place = found.queues.index(queue)
    assert queue.match.takes(case)
    assert not any(earlier.match.takes(case) for earlier in found.queues[:place])
    assert found.queues.count(queue) == 1


@given(matches, facts)
def test_a_rule_looks_at_each_part_that_it_names(match: Match, case: CaseFacts) -> None:
    fits = [
        match.outcome is None or match.outcome is case.outcome,
        match.amount_from is None or case.amount >= match.amount_from,
        match.amount_below is None or case.amount < match.amount_below,
        not match.categories or bool(match.categories & case.categories),
        not match.segments or bool(match.segments & case.segments),
        not match.languages or bool(match.languages & case.languages),
    ]
    assert match.takes(case) is all(fits)


priorities = st.builds(
    priority, st.sampled_from([1, 2]), st.floats(0, 1), st.floats(0, 1e9, allow_nan=False)
)


@given(priorities, priorities)
@example(priority(1, 1.0, 1e9), priority(2, 0.0, 0.0))
def test_weight_keeps_the_order_of_loss_and_is_a_share(one: float, other: float) -> None:
    low, high = sorted([one, other])
    assert 0 <= weight(low) <= weight(high) <= 1


@given(priorities, priorities, st.floats(1, 500), st.floats(0, 2_000), st.floats(0.001, 500))
def test_no_case_goes_before_one_that_opened_so_much_earlier(
    one: float, other: float, fair_hours: float, ahead: float, more: float
) -> None:
    earlier = NOW - timedelta(hours=ahead)
    later = earlier + timedelta(hours=fair_hours + more)
    assert rank(one, earlier, fair_hours) > rank(other, later, fair_hours)


@given(priorities, st.floats(1, 500), st.floats(0, 500))
def test_standing_is_weight_and_age(points: float, fair_hours: float, age: float) -> None:
    opened = NOW - timedelta(hours=age)
    now = standing(rank(points, opened, fair_hours), NOW, fair_hours)
    assert now == pytest.approx(weight(points) + age / fair_hours, abs=1e-5)


@given(
    st.lists(st.tuples(priorities, st.integers(0, 3)), min_size=1, max_size=150),
    st.sampled_from([6.0, 24.0]),
)
def test_in_a_flood_every_case_is_looked_at_before_what_came_a_bound_later(
    arrivals: list[tuple[float, int]], fair_hours: float
) -> None:
    """One case an hour is looked at while up to three come: the weightiest never push a light one
    back for more than the bound. By rank alone it would wait until the flood ends."""
    queue = Queue("q", "x", fair_hours=fair_hours)
    line: list[tuple[float, datetime]] = [(-rank(priority(1, 0.0, 0.0), NOW, fair_hours), NOW)]
    hour, looked = NOW, []
    for points, count in arrivals:
        for place in range(count):
            opened = hour + timedelta(minutes=place)
            heapq.heappush(line, (-rank(points, opened, fair_hours), opened))
        if line:
            looked.append(heapq.heappop(line)[1])
        hour += timedelta(hours=1)
    looked += [heapq.heappop(line)[1] for _ in range(len(line))]
    bound = longest_overtaking(queue)
    for place, opened in enumerate(looked):
        assert all(opened < later + bound for later in looked[place + 1 :])


def test_skills_and_membership_say_whose_work_a_queue_is() -> None:
    queue = Queue("cards", "x", skills=frozenset({"cards"}))
    skilled = Worker(1, skills=frozenset({"cards", "french"}))
    member = Worker(2, skilled.skills, frozenset({"cards"}))
    assert not works_in(queue, Worker(3), set())
    assert works_in(queue, skilled, set())
    assert not works_in(queue, skilled, {"cards"})
    assert works_in(queue, member, {"cards"})
    capped = Queue("cards", "x", most_open=2)
    found = QueueRules(1, (capped, REST_QUEUE), most_open=3)
    holder = Worker(1, held={"cards": 2})
    assert open_to(found, holder, set()) == [REST_QUEUE]
    assert holder.full(found) is None
    assert Worker(1, held={"cards": 2, REST: 1}).full(found) == 3
    assert Worker(1, most_open=1, held={REST: 1}).full(found) == 1


def test_absence_is_from_a_moment_until_another_or_for_good() -> None:
    hour = timedelta(hours=1)
    assert not Worker(1).away(NOW)
    assert Worker(1, away_from=NOW).away(NOW)
    assert Worker(1, away_from=NOW, away_until=NOW + hour).away(NOW)
    assert not Worker(1, away_from=NOW - hour, away_until=NOW).away(NOW)
    assert not Worker(1, away_from=NOW + hour).away(NOW)


@pytest.mark.parametrize(
    "queues",
    [
        (),
        (Queue("other", "x"),),
        (REST_QUEUE, Queue("other", "x")),
        (Queue("a", "x"), Queue("a", "y"), REST_QUEUE),
        (Queue("Ä", "x"), REST_QUEUE),
        (Queue(REST, "x", Match(amount_from=Decimal(1))),),
        (Queue(REST, "x", skills=frozenset({"s"})),),
    ],
)
def test_rules_that_would_leave_a_case_without_queue_are_refused(
    queues: tuple[Queue, ...],
) -> None:
    with pytest.raises(Invalid):
        QueueRules(1, queues)
