"""Token buckets: no more than `burst` at once, no more than `rate` in the long run."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fraudwatch.casework.rate_limits import RateLimits


class Hand:
    """A clock moved by hand, in seconds."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@given(
    rate=st.floats(0.1, 1000),
    burst=st.integers(1, 100),
    asked=st.lists(st.tuples(st.floats(0, 5), st.integers(1, 120)), min_size=1, max_size=60),
)
def test_what_is_granted_never_passes_burst_and_rate(
    rate: float, burst: int, asked: list[tuple[float, int]]
) -> None:
    clock = Hand()
    limits = RateLimits(rate, burst, clock)
    granted = 0
    for wait, count in asked:
        clock.now += wait
        refused_for = limits.take(1, count)
        if count > burst:
            assert refused_for == float("inf")
        elif refused_for == 0:
            granted += count
        else:
            clock.now += refused_for + 1e-6
            assert limits.take(1, count) == 0, "after the time told, it is granted"
            granted += count
        assert granted <= burst + clock.now * rate + 1e-3


def test_each_token_has_its_own_bucket() -> None:
    limits = RateLimits(1, 2, Hand())
    assert limits.take(1, 2) == 0
    assert limits.take(1, 1) == 1.0
    assert limits.take(2, 2) == 0
