"""The harness can fail: each bug put in on purpose is found, and nothing without it.

On files, with one worker and one aimed fault, so that a bug shows within seconds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from tests.chaos.bugs import BUGS
from tests.chaos.campaign import examine
from tests.chaos.site import Site
from tests.chaos.traffic import traffic
from tests.chaos.trial import Trial

ROWS = 150


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Site(kafka=False) as found:
        yield found


def killed(point: str, act: str = "kill") -> Callable[[Trial], None]:
    """kill -9 at the point, or another act."""

    def suffer(trial: Trial) -> None:
        order = trial.order(point, act, 2)
        trial.start()
        assert trial.wait(lambda: trial.taken(order), 60), f"{point} did not arise"

    return suffer


def overtaken(point: str) -> Callable[[Trial], None]:
    """Frozen at the point until another owner of the same partitions has taken in all there is."""

    def suffer(trial: Trial) -> None:
        trial.wakes = False
        trial.order(point, "freeze")
        trial.start()
        [worker] = trial.members.values()
        trial.wait(lambda: worker.frozen, 60, f"the worker freezes at {point}")
        twin = trial.spawn("twin", group="twin")
        trial.settle(trial.settings, 60)
        trial.wake(worker)
        trial.rest(1)
        trial.leave(twin)
        trial.wait(lambda: "twin" not in trial.members, 60, "the twin stops")

    return suffer


def undisturbed(trial: Trial) -> None:
    """Nothing happens but that the worker starts."""
    trial.start()


SCENES: dict[str, tuple[Callable[[Trial], None], str]] = {
    "offsets_before_rows": (killed("process before copy ledger"), "verify: .*'missing': [1-9]"),
    "state_kept": (overtaken("process before update stream_offsets"), "ledger .* not "),
    "no_compare_and_set": (overtaken("labels before update stream_offsets"), "crashed|verify"),
    "published_before_commit": (killed("process before update stream_offsets"), "came again"),
    "snapshot_misplaced": (undisturbed, "snapshot .* misleads"),
    "marked_unpublished": (killed("process before publish decisions"), "decisions .* missing"),
    "marked_before_sent": (killed("idle before publish dead letters"), "was never delivered"),
    # The ledger's index refuses the repeat, again and again: nothing is doubled, nothing goes on.
    "repeats_forgotten": (killed("process before copy ledger"), "in vain: all taken in"),
    "commit_believed": (killed("process before commit", "cut"), "verify: .*'missing': [1-9]"),
    "gives_up": (undisturbed, "ended with 0"),
}
"""For each bug what happens to a worker, and how it shows."""


def faults_found(site: Site, name: str, bug: str) -> list[str]:
    trial = Trial(site, "file", slots=1)
    trial.bug = bug
    chunks = traffic(name, ROWS)
    try:
        trial.feed(next(chunks))
        SCENES[name][0](trial)
        trial.feed(next(chunks))
        try:
            trial.come_to_rest(patience=10 if bug else 60)
        except TimeoutError as error:
            return [str(error)]
        trial.run_reference()
        return examine(trial).wrong + trial.crashes
    finally:
        trial.close()


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_put_in_on_purpose_is_found(site: Site, name: str) -> None:
    """The same scene without the bug ends well: it is the bug that is found."""
    assert faults_found(site, name, "") == []
    found = "\n".join(faults_found(site, name, name))
    assert re.search(SCENES[name][1], found), found
