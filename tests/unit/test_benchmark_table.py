"""The table of `make bench`: figures against goals, and one block of a page replaced."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.table import (
    BEGIN,
    END,
    Figure,
    Machine,
    Noise,
    Sample,
    aligned,
    block,
    noise_line,
    rows,
    sampled,
    shown,
    with_block,
    write,
)

NUMBERS = st.floats(1e-6, 1e9)
VALUES = st.lists(NUMBERS, min_size=1, max_size=9).map(tuple)
AROUND = st.binary().filter(lambda text: BEGIN[:4].encode() not in text)
FIGURES = [
    Figure("worker / bare poll()", (3.2, 2.9, 3.0), "x", 3.0, beside="18.1 us / 6.0 us"),
    Figure("decided", (21_000.0, 19_500.0, 19_000.0), "rows/s", 20_000.0, at_most=False),
    Figure("memory", (870.0,), "bytes", None),
]
MACHINE = Machine(
    began=datetime(2026, 3, 2, 9, 30, tzinfo=UTC),
    revision="0a1b2c3",
    cores=2,
    load_before=0.25,
    load_after=3.5,
    samples=(Sample(0.050, 0.050), Sample(0.055, 0.110), Sample(0.045, 0.054)),
)


def number(text: str) -> float:
    return float(text.replace(",", ""))


def cells(line: str) -> list[str]:
    """Cells of a Markdown row; a bar after a backslash is text."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


@given(VALUES, NUMBERS, st.booleans())
def test_the_median_decides_whether_a_goal_is_met(
    values: tuple[float, ...], goal: float, at_most: bool
) -> None:
    """At least half of the rounds are on the side of the verdict, in whatever order they come."""
    figure = Figure("m", values, "x", goal, at_most)
    good = sum(value <= goal if at_most else value >= goal for value in values)
    if figure.met:
        assert 2 * good >= len(values)
    else:
        assert 2 * good <= len(values)
    assert Figure("m", values[::-1], "x", goal, at_most).met == figure.met
    assert Figure("m", (goal,), "x", goal, at_most).met is True
    assert Figure("m", values, "x", None, at_most).met is None


@given(VALUES)
def test_row_shows_median_and_spread_to_three_digits(values: tuple[float, ...]) -> None:
    _, median, spread, goal, met, _ = cells(rows([Figure("m", values, "us", None)]).splitlines()[2])
    ordered = sorted(values)
    middle = (ordered[(len(values) - 1) // 2] + ordered[len(values) // 2]) / 2
    assert number(median.removesuffix(" us")) == pytest.approx(middle, rel=0.005)
    if len(values) > 1:
        low, high, rounds = re.fullmatch(r"(\S+) to (\S+) \((\d+)\)", spread).groups()  # type: ignore[union-attr]
        assert number(low) == pytest.approx(ordered[0], rel=0.005)
        assert number(high) == pytest.approx(ordered[-1], rel=0.005)
        assert int(rounds) == len(values)
    else:
        assert spread == "(1)"
    assert goal == met == ""


def test_goals_are_shown_with_their_direction() -> None:
    lines = [cells(line) for line in rows(FIGURES).splitlines()]
    assert lines[0] == ["Measure", "Median", "Spread (rounds)", "Goal", "Met", "Beside"]
    assert lines[2] == [
        "worker / bare poll()",
        "3.00 x",
        "2.90 to 3.20 (3)",
        "≤ 3 x",
        "yes",
        "18.1 us / 6.0 us",
    ]
    assert lines[3][3:5] == ["≥ 20,000 rows/s", "no"]
    assert lines[4][1:5] == ["870 bytes", "(1)", "", ""]


def test_table_for_a_terminal_tells_the_same() -> None:
    spaced = [re.split(r"\s{2,}", line) for line in aligned(FIGURES).splitlines()]
    full = [cells(line) for line in rows(FIGURES).splitlines()]
    assert [spaced[0], spaced[1]] == [full[0], full[2]]
    assert len(spaced) == 1 + len(FIGURES)


def test_a_bar_in_a_cell_does_not_make_a_column() -> None:
    line = rows([Figure("a | b", (1.0,), "x", None, beside="c|d")]).splitlines()[2]
    assert cells(line)[0] == r"a \| b"
    assert cells(line)[5] == r"c\|d"
    assert len(cells(line)) == 6


@pytest.mark.parametrize(
    ("measure", "values", "beside"),
    [
        ("nothing", (), ""),
        ("division by nothing", (1.0, float("nan")), ""),
        ("endless", (float("inf"),), ""),
        ("two\nlines", (1.0,), ""),
        ("beside", (1.0,), "two\nlines"),
    ],
)
def test_a_figure_without_a_number_or_line_is_refused(
    measure: str, values: tuple[float, ...], beside: str
) -> None:
    with pytest.raises(ValueError, match=measure.splitlines()[0]):
        Figure(measure, values, "x", None, beside=beside)


@given(NUMBERS)
def test_no_number_is_shown_as_nothing(value: float) -> None:
    assert number(shown(value)) > 0


@given(AROUND, AROUND, AROUND)
def test_writer_replaces_its_block_and_keeps_every_other_byte(
    before: bytes, old: bytes, after: bytes
) -> None:
    """Also line ends of another system, and bytes that are no text."""
    begin, end = BEGIN.encode(), END.encode()
    made = with_block(before + begin + old + end + after, "new")
    assert made == before + begin + b"\n\nnew\n\n" + end + after
    assert with_block(made, "new") == made


@pytest.mark.parametrize(
    "page",
    [
        "no marker",
        f"{BEGIN} never ends",
        f"never begins {END}",
        f"{END} turned round {BEGIN}",
        f"{BEGIN}{END} twice {BEGIN}{END}",
        f"{BEGIN} begins again {BEGIN}{END}",
        f"{BEGIN}{END} ends again {END}",
    ],
)
def test_a_page_without_its_two_markers_stays_as_it_is(page: str, tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(page)
    with pytest.raises(ValueError, match="once each"):
        write(path, FIGURES, MACHINE)
    assert path.read_text() == page


def test_block_tells_machine_noise_and_figures(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(f"# Page\n\n{BEGIN}\nold\n{END}\n\nend\n")
    write(path, FIGURES, MACHINE, "The same in each run: seed 1.")
    page = path.read_text()
    assert page.startswith(f"# Page\n\n{BEGIN}\n\nWritten by `make bench` on 2026-03-02 09:30 UTC")
    assert "revision 0a1b2c3; 2 cores, load 0.2 before and 3.5 after" in page
    assert "\n\nThe same in each run: seed 1.\n\n| Measure |" in page
    assert page.endswith(f"\n\n{END}\n\nend\n")
    assert "old" not in page
    assert block(FIGURES, MACHINE, "The same in each run: seed 1.") in page


def test_noise_is_the_spread_of_a_task_that_never_changes() -> None:
    line = noise_line(MACHINE.samples)
    assert "run 3 times" in line
    assert "took 50.0 ms of a processor (45.0 to 55.0)" in line
    assert "1.20 times as long by the clock (1.00 to 2.00;" in line


def test_reference_task_runs_before_between_and_after_rounds() -> None:
    def measure(noise: Noise) -> list[Figure]:
        noise.sample()
        return FIGURES

    figures, samples = sampled(measure)
    assert figures == FIGURES
    assert len(samples) == 3
    assert all(sample.cpu > 0 and sample.wall > 0 for sample in samples)
