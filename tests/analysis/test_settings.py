"""Trials of different hardware, software, versions, data or fixed parameters are never averaged together."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dlperf import entry_points
from dlperf.analysis.measures import by_seed, is_of_learning, measured
from dlperf.analysis.settings import across_machines, settings
from dlperf.claims import ledger
from dlperf.claims.verdicts import verdicts
from dlperf.page.groups import default_groups, mean_table, setting_table, target_table
from dlperf.problems import shared_parameters
from tests.support.trials import stored

CUTOUT = entry_points.load_problem("cutout")


def test_what_the_problem_varies_shares_a_setting() -> None:
    """m=0 has other epochs than m=2 by the protocol: that is no other setting; epochs that were given are one."""
    trials = [stored("cutout", number) for number in range(12)]
    (one,) = settings(CUTOUT, trials)
    assert len(one.trials) == 12
    assert one.parameters["epochs"] == "default"
    given = [stored("cutout", number, epochs=7) for number in range(3)]
    first, second = settings(CUTOUT, [*trials, *given])
    assert (len(first.trials), len(second.trials), second.parameters["epochs"]) == (12, 3, "7")


def test_threads_and_processes_that_share_the_cores_alike_are_two_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """One trial with two threads, and two at once with a thread each: their times are not averaged."""
    monkeypatch.setattr(shared_parameters, "cores", lambda: 2)
    trials = [stored("optimizers", number, processes=processes) for processes in (1, 2) for number in range(3)]
    found = settings(entry_points.load_problem("optimizers"), trials)
    assert [setting.parameters["threads"] for setting in found] == ["default", "1"]


def test_what_a_parameter_changes_nothing_of_compares_with_every_value_of_it() -> None:
    """Training without dropout, logged as `last`, stands beside both ways to drop."""
    problem = entry_points.load_problem("optimizers")
    without = [stored("optimizers", number, dropout_after="last") for number in range(5)]
    last = [stored("optimizers", number, dropout_after="last") for number in (5, 6)]
    each = [stored("optimizers", number) for number in (7, 8, 9)]
    elsewhere = stored("optimizers", 0, {"dlperf.hardware": "other"})
    assert {trial.parameters.dropout for trial in (*without, elsewhere)} == {False}
    of_each, of_last, other = settings(problem, [*without, *last, *each, elsewhere])
    names = [[trial.run_id for trial in trials] for trials in (without, last, each)]
    assert [trial.run_id for trial in of_each.trials] == names[0] + names[2]
    assert [trial.run_id for trial in of_last.trials] == names[0] + names[1]
    assert [setting.parameters["dropout_after"] for setting in (of_each, of_last)] == ["default", "last"]
    assert other.trials == [elsewhere]
    # With one way to drop there is one setting, and networks without dropout are of one kind however they were logged.
    again = stored("optimizers", 0)
    (one,) = settings(problem, [*without, again, *each])
    assert len(one.trials) == 9
    assert again.kind == without[0].kind
    assert again.kind != last[0].kind


def test_one_baseline_without_cutout_stands_beside_every_way_to_mask() -> None:
    """Copies of m=0 are not masked: a sweep of another length need not train the baseline again."""
    baseline = [stored("cutout", number) for number in (0, 6)]
    ours = [stored("cutout", number) for number in (1, 2)]
    longer = [stored("cutout", number, cutout_length=16) for number in (1, 2)]
    in_batch = [stored("cutout", 1, copies_in="batch")]
    assert {trial.parameters.m for trial in baseline} == {0}
    assert 0 not in {trial.parameters.m for trial in (*ours, *longer, *in_batch)}
    found = settings(CUTOUT, [*baseline, *ours, *longer, *in_batch])
    assert [len(setting.trials) for setting in found] == [4, 4, 3]
    assert all([trial for trial in setting.trials if not trial.parameters.m] == baseline for setting in found)


@pytest.mark.parametrize(("protocol", "copies_in"), [("notebook", "batch"), ("corrected", "epoch")])
def test_what_follows_from_a_given_value_is_no_difference(protocol: str, copies_in: str) -> None:
    """Where the copies stand decides the chunks' size for m=2, and m=0 has none: one sweep is one setting."""
    given = {"protocol": protocol, "copies_in": copies_in}
    trials = [stored("cutout", number, **given) for number in (0, 1, 2)]
    (one,) = settings(CUTOUT, trials)
    assert (one.parameters["copies_in"], one.parameters["micro_batch"]) == (copies_in, "default")
    in_chunks = stored("cutout", 1, **given, micro_batch=32)
    first, other = settings(CUTOUT, [*trials, in_chunks])
    assert (first.trials, other.parameters["micro_batch"]) == (one.trials, "32")


def test_circumstances_are_settings_of_their_own() -> None:
    trials = [stored("cutout", number) for number in range(4)]
    for tag in ("hardware", "software", "version", "data_digest"):
        found = settings(CUTOUT, [*trials, stored("cutout", 5, {f"dlperf.{tag}": "other"})])
        assert [len(setting.trials) for setting in found] == [4, 1]
    overview = setting_table(settings(CUTOUT, [*trials, stored("cutout", 5, depth=20)]))
    assert list(overview["depth"]) == ["default", "20"]
    assert {"hardware", "software", "dlperf", "data", "trials"} <= set(overview.columns)


def test_machines_are_blocks_of_one_setting_for_what_is_learned() -> None:
    """A machine with one random seed says nothing of how seeds vary; a trial of two machines is drawn once."""
    on_first = [stored("cutout", number) for number in (0, 6, 12)]
    on_second = [stored("cutout", number, {"dlperf.hardware": "other"}) for number in (18, 24)]
    twice = stored("cutout", 0, {"dlperf.hardware": "other"})
    alone = stored("cutout", 30, {"dlperf.hardware": "third"})
    other = stored("cutout", 0, {"dlperf.hardware": "other", "dlperf.software": "other"})
    apart = settings(CUTOUT, [*on_first, *on_second, alone, other, replace(twice, run_id="twice")])
    assert [len(setting.trials) for setting in apart] == [3, 3, 1, 1]
    first, *rest = across_machines(apart)
    assert (first.number, first.circumstances["hardware"], len(first.trials)) == (1, "2 machines", 5)
    assert [setting.number for setting in rest] == [3, 4]
    assert {seed for seed, _ in by_seed(first.trials, measured(first.trials, "test_error"))} == {0, 1, 2, 3, 4}
    assert across_machines(apart[2:]) == apart[2:]


@pytest.mark.parametrize("measure", ["train_loss", "best_validation_error", "validation_accuracy@5", "test_error"])
def test_measures_of_learning(measure: str) -> None:
    assert is_of_learning(measure)


@pytest.mark.parametrize(
    "measure", ["seconds_per_epoch", "seconds_to_common(validation_error)", "images_per_second", "epochs_run"]
)
def test_measures_that_a_machine_decides_too(measure: str) -> None:
    assert not is_of_learning(measure)


def test_models_of_ones_own_are_settings_by_their_content_that_no_claim_is_about() -> None:
    given = {"protocol": "corrected", "dropout": False, "dropout_after": "each", "l2": 0}
    trials = [stored("optimizers", number) for number in range(10)]
    own = [
        stored("optimizers", 10 + number, {"dlperf.model_digest": digest}, model=model, **given)
        for number, (model, digest) in enumerate(
            (("keras:my.keras", "one"), ("keras:my.keras", "one"), ("keras:my.keras", "other"), ("keras:NASNet", "a"))
        )
    ]
    problem = entry_points.load_problem("optimizers")
    found = settings(problem, [*trials, *own])
    assert [s.circumstances["model digest"] for s in found] == ["none", "one", "other", "a"]
    claims = ledger.claims("optimizers")
    judged = [verdict for verdict in verdicts(claims, found[1:]) if not verdict.claim.arithmetic]
    assert {verdict.verdict for verdict in judged} <= {"not comparable", "not measured"}
    assert any("model=keras:my.keras, which no source used" in verdict.reason for verdict in judged)
    (of_applications,) = found[3:]
    assert not [v for v in verdicts(claims, [of_applications]) if v.verdict == "supported" and not v.claim.arithmetic]


def test_data_that_follow_from_the_seed_are_no_settings() -> None:
    trials = [stored("approximators", 143 * n, {"dlperf.data_digest": f"digest{n}"}) for n in range(3)]
    (one,) = settings(entry_points.load_problem("approximators"), trials)
    assert one.circumstances["data"] == "drawn from random_seed"


def test_means_and_what_they_hide() -> None:
    trials = [
        stored("optimizers", number, metrics={"train_loss": float(number)}) for number in (0, 5, 10, 15)
    ]  # AdaGrad without and with dropout, two random seeds
    problem = entry_points.load_problem("optimizers")
    (setting,) = settings(problem, trials)
    assert default_groups(problem, trials) == ["optimizer", "dropout", "learning_rate"]
    apart = mean_table(setting, ["optimizer", "dropout"], ["train_loss"], curves=False)
    assert list(apart[apart.metric == "train_loss"]["n"]) == [2, 2]
    assert list(apart[apart.metric == "train_loss"]["mean"]) == [5.0, 10.0]
    assert "averaged_over" not in apart
    together = mean_table(setting, ["optimizer"], ["train_loss"], curves=False)
    assert list(together["averaged_over"]) == ["dropout"] * 2
    assert set(together["metric"]) == {"train_loss", "best train_loss"}


def test_a_mean_over_kinds_is_of_random_seeds_that_have_all_of_them() -> None:
    """AdaGrad without and with dropout, the third random seed without alone."""
    trials = [stored("optimizers", number, metrics={"train_loss": float(number)}) for number in (0, 5, 10, 15, 20)]
    (setting,) = settings(entry_points.load_problem("optimizers"), trials)
    (row,) = mean_table(setting, ["optimizer"], ["test_accuracy"], curves=False).to_dict("records")
    assert row["n"] == 2
    assert row["averaged_over"] == "dropout: 2 of 3 random seeds compare, which have all 2 kinds of trial"


def test_the_best_value_is_read_from_the_curve_where_it_was_not_logged() -> None:
    trial = stored("cutout", 1, history={"validation_error": [0.5, 0.2, 0.4]}, metrics={"validation_error": 0.4})
    del trial.metrics["best_validation_error"]
    (setting,) = settings(CUTOUT, [trial])
    means = mean_table(setting, ["m"], ["validation_error"], curves=True).set_index("metric")["mean"]
    assert dict(means) == {"validation_error": 0.4, "best validation_error": 0.2}
    assert len(mean_table(setting, ["m"], ["validation_error"], curves=False)) == 1


def test_means_of_times_are_of_the_trials_beside_which_nothing_ran() -> None:
    """Where a group has no others they are of all; the table says so."""
    beside = {"dlperf.disturbed": "a browser"}
    trials = [
        stored("cutout", 6 * seed, beside if seed < 2 else {}, metrics={"train_seconds": 90.0 / (1 + seed)})
        for seed in range(3)
    ]
    trials += [stored("cutout", 1, beside, metrics={"train_seconds": 7.0})]
    assert [trial.parameters.m for trial in trials[:3]] == [0] * 3
    (setting,) = settings(CUTOUT, trials)
    table = mean_table(setting, ["m"], ["train_seconds", "test_error"], curves=False)
    first, second = table[table["metric"] == "train_seconds"].to_dict("records")
    assert (first["n"], first["mean"], first["disturbed"]) == (1, 30.0, "2 of 3 left out")
    assert (second["n"], second["mean"], second["disturbed"]) == (1, 7.0, "all 1")
    assert list(table[table["metric"] == "test_error"]["n"]) == [3, 1]
    assert not any(table[table["metric"] == "test_error"]["disturbed"])
    (undisturbed,) = settings(CUTOUT, trials[2:3])
    assert "disturbed" not in mean_table(undisturbed, ["m"], ["train_seconds"], curves=False)


def test_a_target_that_was_not_reached() -> None:
    reached = stored("cutout", 5, metrics={"seconds_to_target": 10.0})
    reached.tags["dlperf.target_reached"] = "true"
    in_vain = stored("cutout", 11, metrics={"train_seconds": 99.0})
    in_vain.metrics.pop("seconds_to_target")
    (setting,) = settings(CUTOUT, [reached, in_vain])
    (row,) = target_table(setting, ["m"], ["seconds_to_target"]).to_dict("records")
    assert (row["n"], row["reached"], row["median"], row["not_reached_in"]) == (2, "1 of 2", 10.0, 99.0)
    in_vain.tags["dlperf.disturbed"] = "a browser"
    seconds, epochs = target_table(setting, ["m"], ["seconds_to_target", "epochs_to_target"]).to_dict("records")
    assert (seconds["n"], seconds["median"], seconds["disturbed"]) == (1, 10.0, "1 of 2 left out")
    assert (epochs["n"], epochs["disturbed"]) == (2, "")
