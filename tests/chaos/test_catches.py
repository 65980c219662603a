"""The harness can fail: each bug put in on purpose is found, and nothing without it.

On files, with one worker and one aimed fault, so that a bug shows within seconds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from tests.chaos.bugs import BUGS
from tests.chaos.campaign import broken, examine
from tests.chaos.site import Site
from tests.chaos.traffic import Chunk, traffic
from tests.chaos.trial import Trial

ROWS = 150


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Site(kafka=False) as found:
        yield found


Scene = Callable[[Trial, Chunk], None]
"""What happens to a worker, which also takes the messages in."""


def killed(point: str, act: str = "kill") -> Scene:
    """kill -9 at the point, or another act."""

    def suffer(trial: Trial, chunk: Chunk) -> None:
        trial.feed(chunk)
        order = trial.order(point, act, 2)
        trial.start()
        assert trial.wait(lambda: trial.taken(order), 60), f"{point} did not arise"

    return suffer


def overtaken(point: str) -> Scene:
    """Frozen at the point until another owner of the same partitions has taken in all there is."""

    def suffer(trial: Trial, chunk: Chunk) -> None:
        trial.feed(chunk)
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


def overtaken_with_labels(trial: Trial, chunk: Chunk) -> None:
    """The same among labels. Nothing else comes meanwhile: a worker that is frozen in the middle of
    a COPY keeps its rows locked until PostgreSQL ends the statement, after a minute."""
    overtaken("labels before update stream_offsets")(trial, Chunk([], chunk.labels))
    trial.feed(Chunk(chunk.transactions, []))


def undisturbed(trial: Trial, chunk: Chunk) -> None:
    """Nothing happens but that the worker starts."""
    trial.feed(chunk)
    trial.start()


SCENES: dict[str, Scene] = {
    "undisturbed": undisturbed,
    "killed before the rows": killed("process before copy ledger"),
    "killed before publishing": killed("process before publish decisions"),
    "killed before relaying": killed("idle before publish dead letters"),
    "cut before the commit": killed("process before commit", "cut"),
    "overtaken": overtaken("process before update stream_offsets"),
    "overtaken with labels": overtaken_with_labels,
}
CAUGHT = {
    "offsets_before_rows": ("killed before the rows", "verify: .*'missing': [1-9]"),
    "state_kept": ("overtaken", "ledger .* not "),
    "no_compare_and_set": ("overtaken with labels", "already exists"),
    "published_before_commit": ("killed before the rows", "came again"),
    "snapshot_misplaced": ("undisturbed", "snapshot .* misleads"),
    "marked_unpublished": ("killed before publishing", "decisions .* missing"),
    "marked_before_sent": ("killed before relaying", "was never delivered"),
    # The ledger's index refuses the repeat; when the batch is computed anew, all of it was "seen".
    "repeats_forgotten": ("killed before publishing", "ledger .*: nothing not "),
    "commit_believed": ("cut before the commit", "decisions .* missing"),
    "gives_up": ("undisturbed", "ended with 0"),
}
"""For each bug the scene in which it shows, and how it shows."""


def faults_found(site: Site, scene: str, bug: str = "", sign: str = "") -> str:
    """What is found after the scene. With a `sign` no more than is needed to see that."""
    trial = Trial(site, "file", slots=1)
    trial.bug = bug
    chunks = traffic(scene, ROWS)
    try:
        SCENES[scene](trial, next(chunks))
        trial.feed(next(chunks))
        trial.come_to_rest(60)
        found = "\n".join(broken(trial) + trial.crashes)
        if sign and re.search(sign, found):
            return found
        trial.run_reference()
        return "\n".join(examine(trial).wrong + trial.crashes)
    finally:
        trial.close()


@pytest.mark.parametrize("scene", SCENES)
def test_without_a_bug_nothing_is_found(site: Site, scene: str) -> None:
    """So it is the bug that is found below."""
    assert faults_found(site, scene) == ""


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_put_in_on_purpose_is_found(site: Site, bug: str) -> None:
    """The same scenes; each bug shows by a sign of its own."""
    scene, sign = CAUGHT[bug]
    found = faults_found(site, scene, bug, sign)
    assert re.search(sign, found), found
