"""Tables of the scaling problem: what was measured, speed-up and efficiency, the parts of a step, the laws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from dlperf.problem import Deferred, Summary
from dlperf.problems.scaling import laws as scaling_laws
from dlperf.problems.scaling import sentences
from dlperf.problems.scaling.advice import advice
from dlperf.problems.scaling.figures import worker_figures
from dlperf.problems.scaling.parameters import ScalingParameters
from dlperf.trial import StoredTrial

Trials = Sequence[StoredTrial[ScalingParameters]]
PREDICTED_WORKERS = 16
COLUMNS = {
    "scaling": (
        *("mode", "workers", "strategy", "step_seconds", "images_per_second", "speedup", "efficiency"),
        "efficiency_of_ceiling",
    ),
    "step": ("mode", "workers", "strategy", "step_ms", "compute_ms", "input_ms", "all_reduce_ms", "wait_ms"),
    "laws": ("mode", "law", "parameter", "value", "low", "high"),
}


def summary(trials: Trials) -> Summary:
    """Lay out the measurements, compare them with one worker, and fit the laws."""
    measured = measurement_table(trials)
    tables = {"scaling": measured, "step": step_table(trials)}
    compared = {trial.run_id: comparison(trial, trials) for trial in trials}
    for name in ("speedup", "speedup_over_plain", "efficiency", "efficiency_of_ceiling"):
        values = [compared[trial.run_id].get(name, np.nan) for trial in trials]
        if not all(map(np.isnan, values)):
            measured[name] = values
    several = len(trials) > 1
    laws = {"laws": lambda: law_table(trials)} if several else {}
    figures = worker_figures(measured) if several else {}
    metrics = {
        trial.run_id: _named(compared[trial.run_id], trial.parameters.mode)
        for trial in trials
        if compared[trial.run_id]
    }
    curve_tables = Deferred(laws)
    said = {
        "scaling": lambda: sentences.of_measurements(measured),
        "step": lambda: f"{sentences.of_steps(tables['step'])} {advice(tables['step'], measured)}".strip(),
        "laws": lambda: sentences.of_laws(curve_tables["laws"]),
    }
    return Summary(
        tables,
        figures,
        curve_tables,
        shown=("scaling", "step", *laws),
        columns=COLUMNS,
        sentences=Deferred(said),
        trial_metrics=metrics,
    )


def measurement_table(trials: Trials) -> pd.DataFrame:
    """A row per trial: step, throughput, time and cost of the epochs, memory."""
    rows = []
    for trial in trials:
        p, metrics = trial.parameters, trial.metrics
        rows.append(
            {
                "mode": p.mode,
                "workers": p.workers,
                "strategy": variant(p),
                "random_seed": p.random_seed,
                "batch": p.global_batch,
                "step_seconds": metrics["step_seconds"],
                "p25": metrics["step_seconds_p25"],
                "p75": metrics["step_seconds_p75"],
                "images_per_second": metrics["images_per_second"],
                "epochs_seconds": metrics["epochs_seconds"],
                "cost": metrics["cost"],
                "peak_memory_mb": metrics["peak_memory_mb"],
                "epochs": f"{p.epochs} trained" if p.epochs else "10 estimated",
                "note": p.emulated,
            }
        )
    return _noted(rows)


def step_table(trials: Trials) -> pd.DataFrame:
    """The parts of a step; compute is that of an independent worker, wait is what is left."""
    names = ("compute", "input", "all_reduce", "wait")
    rows = [
        {
            "mode": t.parameters.mode,
            "workers": t.parameters.workers,
            "strategy": variant(t.parameters),
            "step_ms": 1000 * t.metrics["step_seconds"],
            **{f"{name}_ms": 1000 * t.metrics.get(f"{name}_seconds", np.nan) for name in names},
            "cpu_ms": t.metrics["cpu_ms_per_step"],
            "minor_faults": t.metrics["minor_faults_per_step"],
            "ceiling": t.metrics.get("ceiling", np.nan),
            "note": t.parameters.emulated,
        }
        for t in trials
    ]
    return _noted(rows)


def comparison(trial: StoredTrial[ScalingParameters], trials: Trials) -> dict[str, float]:
    """Compare a trial with the one-worker trials of its mode and random seed; empty where there are none."""
    p = trial.parameters
    alike = [
        t
        for t in trials
        if t.parameters.workers == 1 and (t.parameters.mode, t.parameters.random_seed) == (p.mode, p.random_seed)
    ]
    plain = next((t for t in alike if t.parameters.strategy == "none"), None)
    same = next((t for t in alike if variant(t.parameters) == variant(p)), plain)
    if same is None:
        return {}
    ratios = {
        "speedup": scaling_laws.speedup(p.mode, _step(same), _step(trial), p.workers),
        "efficiency": scaling_laws.efficiency(p.mode, _step(same), _step(trial), p.workers),
    }
    if plain:
        ratios["speedup_over_plain"] = scaling_laws.speedup(p.mode, _step(plain), _step(trial), p.workers)
    if "ceiling" in trial.metrics:
        ratios["efficiency_of_ceiling"] = ratios["efficiency"] / trial.metrics["ceiling"]
    return ratios


def law_table(trials: Trials) -> pd.DataFrame:
    """Every law fitted to every mode, with intervals; with too few numbers of workers, the serial share they imply."""
    rows: list[dict[str, Any]] = []
    modes: tuple[scaling_laws.Mode, ...] = ("strong", "weak")
    for mode in modes:
        of_mode = [t for t in trials if t.parameters.mode == mode and t.parameters.strategy != "none"]
        of_mode = [t for t in of_mode if not t.parameters.emulated]  # a law of emulated devices would predict nothing
        ones = [t for t in of_mode if t.parameters.workers == 1]
        if not ones:
            continue
        speedups: dict[int, list[float]] = {}
        for trial in of_mode:
            rounds = zip(_rounds(ones[0]), _rounds(trial), strict=False)
            workers = trial.parameters.workers
            speedups.setdefault(workers, []).extend(
                scaling_laws.speedup(mode, one, many, workers) for one, many in rounds
            )
        ring = scaling_laws.ring_law(mode, _step(ones[0]), int(ones[0].logged_params.get("gradient_bytes", 0)))
        first = scaling_laws.AMDAHL if mode == "strong" else scaling_laws.GUSTAFSON
        fitted = [(law, scaling_laws.fit(law, speedups, PREDICTED_WORKERS)) for law in (first, scaling_laws.USL, ring)]
        least = min((fit.error for _, fit in fitted if fit), default=np.nan)
        for law, fit in fitted:
            if fit is None:
                continue
            for name, value, (low, high) in zip(law.parameters, fit.values, fit.intervals, strict=True):
                rows.append(
                    {
                        "mode": mode, "law": law.name, "parameter": name, "value": value, "low": low, "high": high,
                        "error": fit.error, "least_error": "yes" if fit.error == least else "",
                        "knee": fit.knee or np.nan,
                        f"prediction for {PREDICTED_WORKERS} workers": _with_interval(fit),
                    }
                )  # fmt: skip
        if not any(row["mode"] == mode for row in rows):
            for workers, values in speedups.items():
                if workers > 1:
                    fractions = [scaling_laws.serial_fraction(value, workers) for value in values]
                    rows.append(
                        {
                            "mode": mode, "law": f"none: {workers} workers alone fit any law",
                            "parameter": "serial share (Karp-Flatt)", "value": float(np.median(fractions)),
                            "low": min(fractions), "high": max(fractions),
                        }
                    )  # fmt: skip
    return pd.DataFrame(rows)


def variant(parameters: ScalingParameters) -> str:
    """Return the strategy, with its way to reduce where one was chosen."""
    if parameters.strategy == "multi_worker" and parameters.collective != "auto":
        return f"multi_worker {parameters.collective}"
    if parameters.strategy == "mirrored" and parameters.all_reduce != "default":
        return f"mirrored {parameters.all_reduce}"
    return parameters.strategy


def _noted(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Lay out rows; the column of notes, which say what is emulated, only if there are any."""
    table = pd.DataFrame(rows)
    return table if table["note"].any() else table.drop(columns=["note"])


def _named(compared: dict[str, float], mode: str) -> dict[str, float]:
    return {f"{mode}_{name}" if name.startswith("efficiency") else name: value for name, value in compared.items()}


def _with_interval(fit: scaling_laws.Fit) -> str:
    return "{:.3g} ({:.3g} to {:.3g})".format(*fit.predicted)


def _step(trial: StoredTrial[ScalingParameters]) -> float:
    return trial.metrics["step_seconds"]


def _rounds(trial: StoredTrial[ScalingParameters]) -> Sequence[float]:
    return trial.history["round_step_seconds"]
