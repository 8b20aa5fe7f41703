"""What README, docs and results show is what the command makes of the archive of dlperf, also when that has grown."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import write_results
from benchmarks.result_texts import picture, sources
from benchmarks.write_results import BLOCKS, filled, outdated
from dlperf.archive.folder import Archive
from dlperf.archive.parts import ArchivedTrial
from dlperf.tracking.reference import reference_trials
from tests.support.made_trials import made

NUMBERS = {
    **{"optimizers": range(20), "scaling": (0, 1, 2, 5, 6, 7)},  # of one and two workers
    **{"architectures": range(2), "cutout": range(12), "approximators": range(143)},
}


def test_what_is_shown_is_up_to_date() -> None:
    assert outdated() == [], "make results"


def forget() -> None:
    for cached in (sources.shown, sources.compared, reference_trials):
        cached.cache_clear()


@pytest.fixture
def grown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The archive has made trials of all problems, two random seeds each."""
    archive = Archive("grown", tmp_path)
    for problem, numbers in NUMBERS.items():
        trials = []
        for number in numbers:
            one = made(problem, number, length=3)
            params, metrics = dict(one.params), dict(one.metrics)
            if problem == "architectures" and number == 0:
                params["subject"] = "alexnet"
                metrics = {f"paper/{name}": value for name, value in metrics.items() if "/" not in name}
            curves = {name: dict(enumerate(curve, 1)) for name, curve in one.history.items()}
            times = {"started": one.started, "ended": one.started + 1}
            trials.append(
                ArchivedTrial(
                    run_id=f"{problem}{number}",
                    **{"name": one.name, "problem": problem, "sweep": problem, **times},
                    **{"params": params, "tags": one.tags, "metrics": metrics, "curves": curves},
                )
            )
        archive.add(trials)
    monkeypatch.setattr(sources.folder, "REFERENCE", str(tmp_path))
    forget()
    yield
    forget()


@pytest.mark.slow
def test_an_archive_that_has_grown_is_shown_everywhere(grown: None) -> None:
    texts = {name: say() for name, say in BLOCKS.items() if name not in ("architectures", "problem_table")}
    for problem in ("optimizers", "scaling", "cutout", "approximators", "origins"):
        assert "the archive `reference`, version 0.1.0, on made CPU, 2 cores, 24 GiB" in texts[problem]
    errors = [made("cutout", number, length=3).metrics["validation_error"] for number in (3, 9)]
    (row,) = (line for line in texts["cutout"].splitlines() if line.startswith("| 8 |"))
    assert row.endswith(f"| {sum(errors) / 2:.3f} |")
    assert "2 random seeds" in texts["optimizers"]
    assert texts["dropout_readings"].count("| not run | - |") == 5  # made trials drop units after each layer alone
    assert "dropout after the last layer" not in " ".join(texts["dropout_readings"].split())
    page = "before\n\n<!-- results: cutout -->\nold\n<!-- end of results -->\n\nafter\n"
    assert filled(page).startswith("before\n\n<!-- results: cutout -->\n*ResNet-")
    assert filled(page).endswith("<!-- end of results -->\n\nafter\n")
    assert filled(filled(page)) == filled(page)
    assert "old" not in filled(page)


def test_the_sentence_on_equal_time_agrees_with_the_table_of_equal_budgets() -> None:
    budgets = sources.shown("cutout").tables["equal_budgets"]
    rows = budgets[budgets["equal"].str.endswith("s of training")].astype({"m": int}).set_index("m")
    error = rows.loc[rows.index.max(), "validation_error"]
    assert f"and stands at {error:.3f}." in " ".join(BLOCKS["cutout"]().split())


def test_a_marker_that_names_nothing_is_refused() -> None:
    with pytest.raises(KeyError, match="nonsense"):
        filled("<!-- results: nonsense -->\n<!-- end of results -->\n")


def test_every_text_stands_on_a_page() -> None:
    pages = "".join(page.read_text() for page in write_results.pages())
    assert [name for name in BLOCKS if f"<!-- results: {name} -->" not in pages] == []


def test_a_picture_of_another_report_is_out_of_date(tmp_path: Path) -> None:
    report, taken = tmp_path / "report.html", tmp_path / "page.png"
    report.write_text("<h1>What was found</h1>")
    assert picture.is_outdated(taken, report)
    if not shutil.which("chromium"):
        pytest.skip("needs chromium on PATH")
    assert picture.take(taken, report) == ""
    assert not picture.is_outdated(taken, report)
    report.write_text("<h1>What was found since</h1>")
    assert picture.is_outdated(taken, report)


def test_where_no_browser_is_the_picture_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert picture.take(tmp_path / "page.png", tmp_path / "report.html") == (
        "page.png is as it was: chromium is not on PATH"
    )
