"""What a comparison leaves on the terminal: tables that fit it, and a sentence below each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from dlperf.analysis.wording import seeds, span
from dlperf.claims.verdicts import SHORT_COLUMNS, in_words, short_table
from dlperf.page.chapter import Chapter, SettingSection
from dlperf.tables import cell
from dlperf.terminal.tables import say, show_table

if TYPE_CHECKING:
    import pandas as pd

_MOST_ROWS = 40
_MEANS = ("metric", "n", "mean", "low", "high")
_STOPPING = ("patience", "trials", "stopped", "epoch", "restored", "cost_restored", "seconds_saved")


def show(sections: Sequence[Chapter], *, curves: bool, wide: bool = False) -> None:
    """Print what a comparison says of every problem: what was left out, settings, tables, claims."""
    for compared in sections:
        problem, trials, settings = compared.problem.name, len(compared.trials), len(compared.settings)
        print(f"\n{problem}: {seeds(trials, 'finished trial')} in {seeds(settings, 'setting')}")
        for line in compared.left_out:
            print(f"  left out: {line}")
        if compared.overview is not None and (wide or settings > 1):
            _show_settings(problem, compared.overview, wide=wide)
        for part in compared.settings:
            which = f" (setting {part.setting.number})" if settings > 1 else ""
            _show_setting(f"{problem}: {{}}{which}", part, curves=curves, wide=wide)
        counts, claims = in_words(compared.verdicts), short_table(compared.verdicts)
        if len(claims):
            show_table(f"{problem}: claims", claims, columns=SHORT_COLUMNS, wide=wide)
        say(f"{problem}: {counts}")


def _show_settings(problem: str, overview: pd.DataFrame, *, wide: bool) -> None:
    differing = [name for name in overview.columns[2:] if overview[name].nunique() > 1]
    sentence = f"They differ in {', '.join(differing)}; trials of different settings are not averaged."
    columns = ("setting", "trials", *differing)
    show_table(f"{problem}: settings", overview, columns=columns, sentence=sentence, wide=wide)


def _show_setting(title: str, part: SettingSection, *, curves: bool, wide: bool) -> None:
    summary = part.summary
    for name, table in summary.shown_tables(curves=curves).items():
        columns, sentence = summary.columns.get(name, ()), summary.sentences.get(name, "")
        named = title.format(name)
        show_table(named, table, columns=columns, sentence=sentence, most=_MOST_ROWS, wide=wide)
    said: dict[str, tuple[tuple[str, ...], Callable[[pd.DataFrame], str]]] = {
        "means": (_MEANS, _of_means),
        "time_to_target": (("metric", "reached", "median", "not_reached_in"), _of_targets),
        "early_stopping": (_STOPPING, _of_stopping),
    }
    for name, table in part.tables.items():
        columns, sentence_of = said[name]
        groups = table.columns[: list(table.columns).index(columns[0])]
        show_table(
            title.format(name),
            table,
            columns=(*groups, *columns),
            sentence=sentence_of(table),
            most=_MOST_ROWS,
            wide=wide,
        )


def _of_means(means: pd.DataFrame) -> str:
    counts = span(list(means["n"]))
    if means["n"].max() < 2:
        return "One value each, hence no interval."
    emulated = " Emulated workers say nothing about as many devices." if "emulated" in means else ""
    return f"Means of {counts} independent values; low to high is the 95 % interval of a mean (Student's t).{emulated}"


def _of_targets(times: pd.DataFrame) -> str:
    said = []
    for metric, rows in times.groupby("metric", sort=False):
        reached = sum(int(text.partition(" ")[0]) for text in rows["reached"])
        said.append(f"{reached} of {rows['n'].sum()} trials reached the target ({metric})")
    return f"{'; '.join(said)}."


def _of_stopping(audited: pd.DataFrame) -> str:
    sums = audited[audited["patience"] > 0].groupby("patience", sort=False)[["stopped", "trials"]].sum()
    stopped = [f"{row.stopped} of {row.trials} trials with a patience of {row.Index}" for row in sums.itertuples()]
    lost = f"with the best weights kept that costs {cell(audited['cost_restored'].max())} at most"
    return f"Early stopping would have ended {', '.join(stopped)}; {lost}."
