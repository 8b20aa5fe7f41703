"""The questions of problem 2, and what trials answer."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from dlperf.analysis.wording import seeds
from dlperf.problem import Answer, Question
from dlperf.problems.scaling import laws
from dlperf.problems.scaling.parameters import ScalingParameters
from dlperf.problems.scaling.tables import comparison, variant
from dlperf.tables import cell
from dlperf.trial import StoredTrial

Trials = Sequence[StoredTrial[ScalingParameters]]
_PARTS = {"compute": "compute", "input": "input", "all_reduce": "all-reduce", "wait": "waiting"}


def questions() -> tuple[Question, ...]:
    """Return the assignment's questions, drawn together where one table answers several."""
    return (
        Question(
            "scaling/throughput",
            "How do throughput, training time and cost change with the number of workers, with strong and weak "
            "scaling?",
            _throughput,
            figures=("throughput", "epochs_seconds", "cost"),
            claims=("scaling/*-throughput*", "scaling/*-time*", "scaling/*compute*"),
        ),
        Question(
            "scaling/efficiency",
            "How efficient are they, and what is lost to what?",
            _efficiency,
            figures=("efficiency",),
            claims=("scaling/*efficiency*", "scaling/*step*"),
        ),
        Question(
            "scaling/reduction",
            "Which way to reduce the gradients has the highest throughput?",
            _reduction,
            figures=("variants",),
            claims=("scaling/*",),
        ),
    )


def _throughput(trials: Trials) -> Answer | None:
    rows = _compared(trials)
    if not rows:
        return None
    sentences = []
    for mode in dict.fromkeys(row["mode"] for row in rows):
        most = max((row for row in rows if row["mode"] == mode), key=lambda row: row["workers"])
        cost = f"; an epoch costs {cell(most['cost_ratio'])} times its worker-seconds" if most["cost_ratio"] else ""
        sentences.append(
            f"{mode.capitalize()} scaling, {most['workers']} workers: {cell(most['images_per_second'])} images per "
            f"second, {cell(most['speed_up'])} times one worker's ({cell(most['lowest'])} to {cell(most['highest'])} "
            f"over {seeds(most['rounds'], 'round')}){cost}."
        )
    return Answer(" ".join(sentences) + _emulated(trials), _frame(rows))


def _efficiency(trials: Trials) -> Answer | None:
    rows = _compared(trials)
    if not rows:
        return None
    most = max(rows, key=lambda row: row["workers"])
    ceiling = ""
    if most["of_ceiling"] == most["of_ceiling"]:
        reached = cell(most["of_ceiling"])
        ceiling = f", which is {reached} of what as many processes that never communicate reach on this machine"
    # Waiting is what is left of a step, and less than nothing where the parts, which are timed apart, took longer.
    took = {words: most[f"{part}_ms"] for part, words in _PARTS.items()}
    parts = [f"{words} {cell(time)} ms" for words, time in took.items() if time is not None and time >= 0]
    lost = f" A step takes {cell(most['step_ms'])} ms, of which: {', '.join(parts)}." if parts else ""
    return Answer(
        f"{most['workers']} workers ({most['mode']} scaling, {most['strategy']}) have an efficiency of "
        f"{cell(most['efficiency'])}{ceiling}.{lost}{_emulated(trials)}",
        _frame(rows),
    )


def _reduction(trials: Trials) -> Answer | None:
    several = [t for t in trials if t.parameters.workers > 1]
    ways = {variant(t.parameters) for t in several}
    if len(ways) < 2:
        return None
    workers = max(t.parameters.workers for t in several)
    rows: list[dict[str, Any]] = [
        {"mode": t.parameters.mode, "strategy": variant(t.parameters), "workers": workers,
         "images_per_second": t.metrics["images_per_second"],
         "lowest": t.parameters.global_batch / max(t.history["round_step_seconds"]),
         "highest": t.parameters.global_batch / min(t.history["round_step_seconds"])}
        for t in several if t.parameters.workers == workers
    ]  # fmt: skip
    rows.sort(key=lambda row: (row["mode"], -row["images_per_second"]))
    sentences = []
    for mode in dict.fromkeys(row["mode"] for row in rows):
        own = [row for row in rows if row["mode"] == mode]
        listed = ", ".join(f"{row['strategy']} {cell(row['images_per_second'])}" for row in own)
        apart = len(own) > 1 and own[0]["lowest"] > own[1]["highest"]
        said = "its slowest round was faster than every other's fastest" if apart else "their rounds overlap"
        sentences.append(f"{mode.capitalize()} scaling, {workers} workers, in images per second: {listed}; {said}.")
    return Answer(" ".join(sentences) + _emulated(trials), _frame(rows))


def _compared(trials: Trials) -> list[dict[str, Any]]:
    """A row per trial of several workers that has one of one worker beside it."""
    rows = []
    for trial in trials:
        p, ratios = trial.parameters, comparison(trial, trials)
        alone = {
            variant(t.parameters): t
            for t in trials
            if (t.parameters.workers, t.parameters.mode, t.parameters.random_seed) == (1, p.mode, p.random_seed)
        }
        one = alone.get(variant(p), alone.get("none"))  # what `comparison` divides by
        if p.workers < 2 or "speedup" not in ratios or one is None:
            continue
        pairs = zip(one.history["round_step_seconds"], trial.history["round_step_seconds"], strict=False)
        rounds = [laws.speedup(p.mode, single, together, p.workers) for single, together in pairs]
        rows.append(
            {
                **{"mode": p.mode, "workers": p.workers, "strategy": variant(p)},
                "images_per_second": trial.metrics["images_per_second"],
                **{"speed_up": ratios["speedup"], "rounds": len(rounds)},
                **{"lowest": min(rounds, default=float("nan")), "highest": max(rounds, default=float("nan"))},
                "median": median(rounds) if rounds else float("nan"),
                "cost_ratio": trial.metrics["cost"] / one.metrics["cost"] if one.metrics.get("cost") else None,
                **{"efficiency": ratios["efficiency"], "of_ceiling": ratios.get("efficiency_of_ceiling", float("nan"))},
                "step_ms": 1000 * trial.metrics["step_seconds"],
                **{f"{part}_ms": _milliseconds(trial, f"{part}_seconds") for part in _PARTS},
            }
        )
    return rows


def _milliseconds(trial: StoredTrial[ScalingParameters], metric: str) -> float | None:
    return 1000 * trial.metrics[metric] if metric in trial.metrics else None


def _emulated(trials: Trials) -> str:
    reasons = sorted({trial.parameters.emulated for trial in trials if trial.parameters.emulated})
    return f" Emulated ({'; '.join(reasons)}): this says nothing about real devices." if reasons else ""


def _frame(rows: list[dict[str, Any]]) -> Any:
    import pandas as pd

    return pd.DataFrame(rows).dropna(axis="columns", how="all")
