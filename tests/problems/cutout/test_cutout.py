"""The cutout problem's protocols: every hyper-parameter against the notebook's and the papers'."""

from __future__ import annotations

import numpy as np
import pytest

from dlperf import data
from dlperf.errors import BadInput
from dlperf.parameters import parse
from dlperf.problems.cutout.parameters import CutoutParameters
from dlperf.problems.cutout.problem import PROBLEM, summarize, work
from dlperf.problems.shared_parameters import verify_examples
from dlperf.trial import StoredTrial
from tests.support.trials import told_at_the_end


def resolve(**given: object) -> CutoutParameters:
    return CutoutParameters.resolve(given)  # type: ignore[arg-type]


def test_notebook_defaults() -> None:
    p = resolve(m=4)
    assert (p.depth, p.batch_size, p.copies_in, p.micro_batch, p.cutout_length) == (44, 64, "epoch", 64, 12)
    assert (p.epochs, p.learning_rate, p.weight_decay, p.patience) == (100, 0.001, 0.0002, 20)
    assert {p.learning_rate_at(epoch) for epoch in range(1, 101)} == {0.001}


def test_notebook_baseline_drops_where_the_notebook_did() -> None:
    """lr_schedule compares the 0-based epoch with `>`: the first epochs of lower rates are the 82nd, 122nd, ..."""
    p = resolve(m=0)
    assert p.epochs == 200

    def notebook(epoch: int) -> float:
        rate = 1e-3
        for after, factor in ((180, 0.5e-3), (160, 1e-3), (120, 1e-2), (80, 1e-1)):
            if epoch > after:
                return rate * factor
        return rate

    assert [p.learning_rate_at(e + 1) for e in range(200)] == pytest.approx([notebook(e) for e in range(200)])


def test_corrected_defaults_are_hoffers_recipe() -> None:
    p = resolve(m=8, protocol="corrected")
    assert (p.copies_in, p.cutout_length, p.epochs, p.patience) == ("batch", 16, 100, 0)
    assert (p.learning_rate, p.weight_decay, p.micro_batch) == (0.1, 0.0001, 128)
    published = resolve(m=8, protocol="corrected", epochs=200)
    rates = [published.learning_rate_at(epoch) for epoch in range(1, 201)]
    assert [e for e in range(2, 201) if rates[e - 1] != rates[e - 2]] == [82, 123, 165]
    assert [rates[0], rates[81], rates[122], rates[164]] == pytest.approx([0.1, 0.01, 0.001, 0.0001])
    assert [e for e in range(2, 101) if p.learning_rate_at(e) != p.learning_rate_at(e - 1)] == [42, 62, 83]
    for epochs in (1, 2, 3):  # the first epoch has the initial rate, however few there are
        assert resolve(protocol="corrected", epochs=epochs).learning_rate_at(1) == 0.1


def test_what_is_given_wins_over_the_protocol() -> None:
    p = resolve(m=2, protocol="corrected", copies_in="epoch", epochs=7, cutout_length=8, learning_rate=0.5)
    assert (p.copies_in, p.epochs, p.cutout_length, p.learning_rate, p.micro_batch) == ("epoch", 7, 8, 0.5, 64)


@pytest.mark.parametrize(("m", "rows"), [(1, 64), (2, 128), (4, 128), (32, 128)])
def test_the_chunk_does_not_grow_with_m(m: int, rows: int) -> None:
    assert resolve(m=m, copies_in="batch").micro_batch == rows


def test_a_sweep_names_and_keys_its_trials() -> None:
    trials = parse(CutoutParameters, {"m": "0,2", "random_seed": "0,1", "dataset": "digits"}).trials
    names = [PROBLEM.trial_name(trial) for trial in trials]
    assert names == [f"cutout m={m} random_seed={seed}" for seed in (0, 1) for m in (0, 2)]
    keys = {PROBLEM.trial_key(trial) for trial in trials}
    assert len(keys) == 4
    # Where files lie does not define a trial; how it is trained does.
    moved = trials[0].model_copy(update={"state_dir": "/elsewhere", "save_model": True})
    assert PROBLEM.trial_key(moved) == PROBLEM.trial_key(trials[0])
    assert PROBLEM.trial_key(trials[0].model_copy(update={"threads": 77})) not in keys


def test_train_examples_leave_room_for_the_validation_split() -> None:
    verify_examples([resolve(dataset="digits", train_examples=1437)])
    verify_examples([resolve(dataset="digits", train_examples=1294, protocol="corrected")])
    with pytest.raises(BadInput, match=r"train_examples=1295: at most 1294 with dataset=digits and protocol=corrected"):
        verify_examples([resolve(dataset="digits", train_examples=1295, protocol="corrected")])


@pytest.mark.parametrize("train_examples", [0, 100])
def test_the_corrected_split_is_disjoint_and_follows_the_seed(train_examples: int) -> None:
    from dlperf.problems.cutout.recipe import split

    digits = data.load("digits")

    def rows(random_seed: int) -> list[set[bytes]]:
        p = resolve(dataset="digits", protocol="corrected", train_examples=train_examples, random_seed=random_seed)
        splits = split(digits, p)
        assert [len(images) for images, _ in splits] == [train_examples or 1294, 143]
        return [{image.tobytes() for image in images} for images, _ in splits]

    train, validation = rows(0)
    assert not train & validation
    assert rows(0) == [train, validation]
    assert rows(1)[1] != validation


def test_the_notebook_validates_on_the_test_set() -> None:
    from dlperf.problems.cutout.recipe import split

    digits = data.load("digits")
    (images, _), (held, _) = split(digits, resolve(dataset="digits", train_examples=10))
    np.testing.assert_array_equal(images, digits.train_inputs[:10])
    assert held is digits.test_inputs


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["notebook", "corrected"])
def test_parameters_without_effect_change_no_weight_of_the_baseline(protocol: str) -> None:
    """Training on the same images without cutout ends at the same weights to the bit, whatever these hold."""
    from dlperf.problems.cutout.recipe import compiled_epoch

    digits = data.load("digits")
    images, labels = digits.train_inputs[:200], digits.train_labels[:200]
    given = {"m": 0, "dataset": "digits", "protocol": protocol, "depth": 8, "micro_batch": 32}
    some = {"copies_in": "epoch", "cutout_length": 2, "cutout_share": 0.0}
    others = {"copies_in": "batch", "cutout_length": 16, "cutout_share": 0.5}
    assert resolve(**given).without_effect() == set(some)
    assert not resolve(**given | {"m": 1}).without_effect()

    def weights(values: dict[str, object]) -> list[list[np.ndarray]]:
        epoch = compiled_epoch(resolve(**given | values), images, labels)
        untrained = [variable.numpy() for variable in epoch.model.variables]
        list(epoch.train_epoch(1))
        return [untrained, [variable.numpy() for variable in epoch.model.variables]]

    (before, after), (theirs_before, theirs) = weights(some), weights(others)
    assert not any(np.array_equal(*pair) for pair in zip(before, after, strict=True))
    for pair in [*zip(before, theirs_before, strict=True), *zip(after, theirs, strict=True)]:
        np.testing.assert_array_equal(*pair)


@pytest.mark.parametrize(("m", "mean_is_subtracted"), [(0, True), (2, False)])
def test_only_the_notebooks_baseline_subtracts_the_mean(m: int, mean_is_subtracted: bool) -> None:
    from dlperf.problems.cutout.recipe import pipelines

    digits = data.load("digits")
    _, prepare = pipelines(resolve(m=m, dataset="digits"), digits.train_inputs)
    mean = digits.train_inputs.mean(axis=0) / 255 if mean_is_subtracted else 0
    expected = digits.test_inputs[:5] / 255 - mean
    np.testing.assert_allclose(prepare(digits.test_inputs[:5]), expected, atol=1e-6)


@pytest.mark.parametrize("protocol", ["notebook", "corrected"])
def test_draws_span_what_the_protocol_says(protocol: str) -> None:
    """All-zero and almost-one draws move by -10 % and +10 % (notebook) or by the padding of 4 each way (corrected)."""
    from dlperf.problems.cutout import recipe
    from dlperf.training import augment

    p = resolve(m=0, protocol=protocol)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    make, prepare = recipe.pipelines(p, images)
    draws = np.array([[0.0] * 8, [0.999999] * 8], np.float32)
    made = np.asarray(make(images, np.array([0, 1]), np.array([0, 0]), draws))
    ready = np.asarray(prepare(images))
    if protocol == "notebook":
        flipped_back = augment.shift(ready, np.array([[-3.2, -3.2], [3.2, 3.2]], np.float32))
    else:
        flipped_back = augment.crop(ready, np.array([[0, 0], [8, 8]], np.int32))
    expected = np.asarray(augment.flip(flipped_back, np.array([True, False])))  # a draw below 0.5 flips
    np.testing.assert_allclose(made, expected, atol=1e-4)


def stored(m: int, random_seed: int, errors: list[float], **metrics: float) -> StoredTrial[CutoutParameters]:
    history = {"epoch_seconds": [2.0] * len(errors), "validation_error": errors, "learning_rate": [1e-3] * len(errors)}
    final = {"epochs_run": len(errors), "train_seconds": 2.0 * len(errors), "test_error": errors[-1], **metrics}
    final |= told_at_the_end(history)
    return StoredTrial("id", resolve(m=m, random_seed=random_seed), {}, final, history, {})


def test_the_summary_is_a_pure_function_of_what_is_stored() -> None:
    trials = [stored(2, 0, [0.5, 0.3, 0.4], epochs_to_target=2, seconds_to_target=4.0), stored(0, 0, [0.6, 0.5])]
    summary = summarize(trials)
    table = summary.tables["cutout"]
    assert list(table["m"]) == [0, 2]
    second = table.iloc[1]
    assert (second.best_validation_error, second.final_validation_error, second.seconds_per_epoch) == (0.3, 0.4, 2.0)
    assert (second.epochs_to_target, second.seconds_to_target) == (2, 4.0)
    assert np.isnan(table.iloc[0].epochs_to_target)
    assert len(summary.curve_tables["epochs"]) == 5
    axes = summary.figures["validation_error_by_m"].axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()][:2] == ["0", "2"]
    curves = [list(line.get_ydata()) for line in axes.get_lines() if len(line.get_ydata()) > 1]
    assert curves == [[0.6, 0.5], [0.5, 0.3, 0.4]]


def test_work_counts_copies_and_epochs() -> None:
    one = work(resolve(m=1, epochs=1, train_examples=1000))
    assert work(resolve(m=3, epochs=1, train_examples=1000)) - one == pytest.approx(2 * 3 * 1000 * 97_436_288)
    assert work(resolve(m=1, epochs=5, train_examples=1000)) == pytest.approx(5 * one)


def test_one_colour_for_a_group_however_many_seeds() -> None:
    trials = [stored(m, seed, [0.5 - 0.1 * seed, 0.3]) for m in (0, 4) for seed in (0, 1)]
    axes = summarize(trials).figures["validation_error_by_m"].axes[0]
    means = [list(line.get_ydata()) for line in axes.get_lines() if len(line.get_ydata()) > 1]
    assert means == [pytest.approx([0.45, 0.3])] * 2
