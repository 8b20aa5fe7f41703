"""`python -m benchmarks.write_results`, a minute on 2 cores: what README, docs and results show of measured trials.

It measures nothing: figures come from the archive `reference`. Between two lines of a page,

    <!-- results: NAME -->
    <!-- end of results -->

stands what the function of that name says. Tables and figures of problems go to results/PROBLEM (those of optimizers
to folders below it, by protocol and epochs), and what `compare --archive reference` writes to results/compare.
`--check` writes nothing, and names what would change but for figures. `make results` starts it.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.result_texts import further, overview, picture, problems
from benchmarks.result_texts.faults import faults
from benchmarks.result_texts.sources import RESULTS, folders, verdicts_by_problem
from dlperf.claims.verdicts import verdict_table
from dlperf.cli import entry_point
from dlperf.entry_points import PROBLEMS

ROOT = RESULTS.parent
BLOCKS: dict[str, Callable[[], str]] = {
    **{name: getattr(problems, name) for name in PROBLEMS},
    "problem_table": overview.problem_table,
    "origins": overview.origins,
    "compare": overview.compare,
    "verdict_counts": overview.verdict_counts,
    "verdict_rates": overview.verdict_rates,
    "stopping": overview.stopping,
    "optimizers_200_epochs": further.optimizers_200_epochs,
    "dropout_readings": further.dropout_readings,
    "laws": further.laws,
    "collectives": further.collectives,
    "networks_by_seed": further.networks_by_seed,
    "time_to_rmse": further.time_to_rmse,
    "faults": faults,
}
_REPORT = RESULTS / "compare" / "report.html"
_PICTURE = RESULTS / "compare" / "page.png"
_BLOCK = re.compile(r"<!-- results: (\w+) -->\n(.*?)<!-- end of results -->\n", re.DOTALL)
_WIDTH = 120


def pages() -> list[Path]:
    """Return the pages that may show results."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted(RESULTS.glob("*/README.md"))]


def filled(text: str) -> str:
    """Return a page with what stands between its markers made anew.

    Raises:
        KeyError: A marker names no block.
    """
    return _BLOCK.sub(lambda block: f"<!-- results: {block[1]} -->\n{_wrapped(BLOCKS[block[1]]())}\n{_END}\n", text)


_END = "<!-- end of results -->"


def expected() -> Iterator[tuple[Path, str]]:
    """Yield every file of text that shows results, with what has to stand in it."""
    for page in pages():
        text = page.read_text()
        if "<!-- results:" in text:
            yield page, filled(text)
    for folder, source in folders().items():
        for title, table in source.tables.items():
            yield folder / f"{title}.csv", table.to_csv(index=False)
    for name, judged in verdicts_by_problem().items():
        yield RESULTS / "compare" / f"{name}_claims.csv", verdict_table(judged).to_csv(index=False)


def outdated() -> list[str]:
    """Return the names of the files that would change."""
    old = [file for file, text in expected() if not file.exists() or file.read_text() != text]
    old += [_PICTURE] if picture.is_outdated(_PICTURE, _REPORT) else []
    return [str(file.relative_to(ROOT)) for file in old]


def write() -> None:
    """Write texts, tables, figures, the report and, where there is a browser, its picture."""
    for file, text in list(expected()):
        file.write_text(text)
    for place, source in folders().items():
        for title, figure in source.figures.items():
            figure.savefig(place / f"{title}.png", format="png", dpi=110, metadata={"Software": None})
    with tempfile.TemporaryDirectory() as folder:
        places = ("--tracking_uri", f"sqlite:///{folder}/empty.db", "--output", f"{folder}/out")
        if status := entry_point("compare", ["--archive", "reference", *places]):
            raise SystemExit(status)
        shutil.copy(Path(folder, "out", "report.html"), _REPORT)
    if complaint := picture.take(_PICTURE, _REPORT):
        print(complaint)


def _wrapped(text: str) -> str:
    """Break paragraphs into lines; tables stay as they are."""
    parts = text.strip().split("\n\n")
    return "\n\n".join(part if part.startswith("|") else _filled_paragraph(part) for part in parts)


def _filled_paragraph(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), _WIDTH, break_long_words=False, break_on_hyphens=False)


def main() -> int:
    """Write what is shown, or say what would change."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 if something would change")
    if parser.parse_args().check:
        old = outdated()
        print(f"out of date: {', '.join(old)}" if old else "up to date")
        return 1 if old else 0
    write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
