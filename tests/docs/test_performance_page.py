"""The page of figures: what `make bench` wrote there says against what each figure stands."""

from __future__ import annotations

from benchmarks.table import BEGIN, END, with_block
from tests.docs.tracked import ROOT

PAGE = ROOT / "docs" / "performance.md"


def test_bench_can_write_into_the_page() -> None:
    page = PAGE.read_bytes()
    old = page.decode().split(BEGIN)[1].split(END)[0].strip()
    assert with_block(page, old) == page


def test_every_figure_of_the_table_is_a_ratio_or_stands_beside_another() -> None:
    """A figure alone tells the machine of its day and nothing else."""
    lines = PAGE.read_text().split(BEGIN)[1].split(END)[0].splitlines()
    figures = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")][2:]
    assert len(figures) > 20
    alone = [
        cells[0]
        for cells in figures
        if not (cells[1].endswith(" x") or (len(cells) == 6 and cells[5]))
    ]
    assert alone == []
