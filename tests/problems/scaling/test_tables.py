"""Tables, laws and figures of stored trials of the scaling problem."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dlperf.problems.scaling.parameters import ScalingParameters
from dlperf.problems.scaling.problem import summarize
from dlperf.processor import cores
from dlperf.trial import StoredTrial


def stored(mode: str, workers: int, strategy: str, seconds: list[float]) -> StoredTrial[ScalingParameters]:
    parameters = ScalingParameters.resolve({"mode": mode, "workers": workers, "strategy": strategy})
    step = float(np.median(seconds))
    metrics = {
        **{"step_seconds": step, "step_seconds_p25": step, "step_seconds_p75": step, "epochs_seconds": 10 * step},
        **{"images_per_second": parameters.global_batch / step, "cost": 1.0, "peak_memory_mb": 1.0},
        **{"cpu_ms_per_step": 1.0, "minor_faults_per_step": 0.0, "ceiling": 0.95 if workers > 1 else 1.0},
        **{"compute_seconds": step, "input_seconds": 0.0, "all_reduce_seconds": 0.0, "wait_seconds": 0.0},
    }
    history = {"round_step_seconds": seconds, "train_loss": [1.0] * len(seconds)}
    name = f"{mode} {workers} {strategy}"
    return StoredTrial(name, parameters, {"gradient_bytes": "1000000"}, metrics, history, {})


def test_tables_of_stored_trials() -> None:
    """Speed-up over one worker of the same strategy, and over the plain loop, which is a little faster."""
    trials = [
        stored("strong", 1, "none", [0.95, 0.95]),
        stored("strong", 1, "multi_worker", [1.0, 1.0]),
        stored("strong", 2, "multi_worker", [0.625, 0.625]),
        stored("weak", 1, "multi_worker", [0.2, 0.2]),
        stored("weak", 2, "multi_worker", [0.25, 0.25]),
    ]
    summary = summarize(trials)
    assert summary.trial_metrics["strong 2 multi_worker"] == pytest.approx(
        {
            **{"speedup": 1.6, "strong_efficiency": 0.8, "speedup_over_plain": 1.52},
            "strong_efficiency_of_ceiling": 0.8 / 0.95,
        }
    )
    assert summary.trial_metrics["weak 2 multi_worker"]["weak_efficiency"] == pytest.approx(0.8)
    laws = summary.curve_tables["laws"]
    assert set(laws["law"]) == {"none: 2 workers alone fit any law"}
    assert laws.set_index("mode").loc["strong", "value"] == pytest.approx(0.25)
    assert summary.figures.keys() == {"throughput", "epochs_seconds", "cost", "efficiency"}
    assert "note" not in summary.tables["scaling"]


def test_laws_are_fitted_where_there_are_enough_workers() -> None:
    trials = [stored("strong", n, "multi_worker", [0.1 + 0.9 / n] * 3) for n in (1, 2, 4, 8)]
    if cores() < 8:
        assert summarize(trials).curve_tables["laws"]["law"].str.startswith("none").all()  # emulated ones count not
    trials = [replace(t, parameters=t.parameters.model_copy(update={"device": "gpu"})) for t in trials]
    laws = summarize(trials).curve_tables["laws"].set_index(["law", "parameter"])
    assert laws.loc[("Amdahl", "serial"), "value"] == pytest.approx(0.1, abs=1e-3)
    assert laws.loc[("Amdahl", "serial"), "prediction for 16 workers"].startswith("6.4")
    assert ("Universal Scalability Law", "coherence") in laws.index
    assert laws.loc[laws["least_error"] == "yes", "error"].iloc[0] == laws["error"].min()


def test_ways_to_reduce_are_drawn_beside_each_other() -> None:
    trials = [
        replace(
            trial,
            run_id=way,
            parameters=ScalingParameters.resolve({"workers": 2, "strategy": "mirrored", "all_reduce": way}),
        )
        for way in ("hierarchical_copy", "reduction_to_one_device")
        for trial in [stored("strong", 2, "mirrored", [1.0, 1.0])]
    ]
    summary = summarize(trials)
    assert list(summary.tables["scaling"]["strategy"]) == [
        "mirrored hierarchical_copy",
        "mirrored reduction_to_one_device",
    ]
    assert "variants" in summary.figures


def test_what_is_emulated_says_so() -> None:
    trials = [stored("strong", n, "mirrored", [1.0, 1.0]) for n in (1, 2)]
    table = summarize(trials).tables["scaling"].set_index("workers")
    assert table.loc[2, "note"] == "logical CPUs share one pool of threads"
    assert "variants" not in summarize(trials).figures
    ring = ScalingParameters.resolve({"workers": 2, "collective": "nccl"})
    assert ring.emulated.startswith("NCCL needs GPUs")
    many = ScalingParameters.resolve({"workers": 2 * cores(), "mode": "weak", "strategy": "multi_worker"})
    assert many.emulated == f"{2 * cores()} workers on {cores()} cores"
