"""What sentences say follows from the numbers: direction from the sign, and nothing below significance."""

from __future__ import annotations

import re
import shlex

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlperf import entry_points
from dlperf.analysis.contest import Contest, command_to_settle, contest, seeds_to_settle
from dlperf.analysis.inference import FEWEST, LEVEL
from dlperf.parameters import defining, parse
from dlperf.tables import cell
from dlperf.trial import StoredTrial
from tests.support.trials import stored

NUMBER = re.compile(r"(?<![\w.])-?[\d,]*\d(?:\.\d+)?(?:e[+-]?\d+)?")
WORDS_OF_ORDER = re.compile(r"\b(lower|lowest|higher|highest|more|less|next)\b")

values = st.floats(0.001, 1000, allow_nan=False).map(lambda value: float(f"{value:.3g}"))
kinds = st.dictionaries(
    st.sampled_from(["Adam", "AdaGrad", "Nadam", "RMSProp"]),
    st.dictionaries(st.integers(0, 9), values, min_size=1, max_size=8),
    min_size=1,
    max_size=4,
)


def numbers_of(result: Contest) -> set[str]:
    """Every number that a sentence may hold: the table's, their absolute values, and counts."""
    table = result.table().drop(columns=["name"])
    shown = {cell(value) for column in table for value in table[column]}
    return shown | {text.removeprefix("-") for text in shown} | {str(result.pairs), str(FEWEST)}


@given(kinds, st.booleans(), st.booleans())
def test_a_sentence_says_what_its_numbers_carry(made: dict[str, dict[int, float]], lower: bool, ratio: bool) -> None:
    result = contest(made, "loss", lower_is_better=lower, by_ratio=ratio)
    sentence = result.in_words()
    assert set(NUMBER.findall(sentence)) <= numbers_of(result), sentence
    means = [rival.mean.mean for rival in result.rivals]
    assert means == sorted(means, reverse=not lower)
    if not result.is_decided:
        assert not WORDS_OF_ORDER.search(sentence), sentence
        return
    first, second = result.rivals[:2]
    assert second.behind is not None
    assert second.behind.value > 0
    assert all(
        rival.p <= LEVEL and rival.behind is not None and rival.behind.n >= FEWEST for rival in result.rivals[1:]
    )
    superlative, comparative = ("lowest", "lower") if lower else ("highest", "higher")
    assert f" {superlative if len(made) > 2 else comparative} loss" in sentence
    assert sentence.startswith(f"{first.name} has ")


@given(st.lists(values, min_size=2, max_size=FEWEST - 1))
def test_fewer_pairs_than_five_never_decide(seeds: list[float]) -> None:
    made = {"Adam": dict(enumerate(seeds)), "AdaGrad": {seed: value * 100 for seed, value in enumerate(seeds)}}
    assert contest(made, "loss", lower_is_better=True).in_words().startswith("Not shown: ")


def test_a_plain_difference_is_said_with_its_interval() -> None:
    adam = {seed: 1.0 + seed / 1000 for seed in range(5)}
    slower = {seed: value + 0.5 + (-1) ** seed / 100 for seed, value in adam.items()}
    said = contest({"AdaGrad": slower, "Adam": adam}, "training loss", lower_is_better=True, unit="nats").in_words()
    assert said == (
        "Adam has a lower training loss than AdaGrad: 1.002 (1 to 1.004) nats against 1.504 (1.49 to 1.518) nats, "
        "a difference of 0.502 (0.4884 to 0.5156) nats."
    )


def test_times_that_differ_in_size_are_told_apart_by_their_ratio() -> None:
    """Networks of eight sizes, each 1.4 to 1.6 times as slow with another layer: by differences the large ones hide it.

    The interval is Student's t about the mean of the logarithms, by hand.
    """
    shallow = {size: 2.0**size for size in range(8)}
    deep = {size: time * (1.4 if size % 2 else 1.6) for size, time in shallow.items()}
    kinds = {"depth 2": deep, "depth 1": shallow}
    assert not contest(kinds, "training time", lower_is_better=True).is_decided

    def interval(logarithms: list[float], around: float) -> str:
        half = 2.364624 * np.std(logarithms, ddof=1) / np.sqrt(8)
        mean, low, high = (cell(around * np.exp(sign * half)) for sign in (0, -1, 1))
        return f"{mean} ({low} to {high})"

    times = (
        interval(np.log(list(shallow.values())).tolist(), 2**3.5),
        interval(np.log(list(deep.values())).tolist(), 2**3.5 * np.sqrt(1.4 * 1.6)),
    )
    ratio = interval(np.log([1.4, 1.6] * 4).tolist(), np.sqrt(1.4 * 1.6))
    result = contest(kinds, "training time", lower_is_better=True, unit="s", by_ratio=True)
    assert result.in_words() == (
        f"depth 1 has a lower training time than depth 2: {times[0]} s against {times[1]} s in the geometric mean, "
        f"which is {ratio} times as much."
    )
    assert "behind" not in result.table().columns


def test_a_ratio_is_that_of_a_rival_to_the_first_whichever_is_better() -> None:
    fast = {seed: 30.0 + seed for seed in range(6)}
    slow = {seed: speed / (3.0 if seed % 2 else 3.1) for seed, speed in fast.items()}
    result = contest({"A": slow, "B": fast}, "speed", lower_is_better=False, by_ratio=True)
    low, ratio, high = result.table().loc[1, ["ratio_to_first_low", "ratio_to_first", "ratio_to_first_high"]]
    assert ratio == pytest.approx(1 / np.sqrt(3.0 * 3.1))
    assert low < 1 / 3.1 < 1 / 3.0 < high
    assert result.in_words().startswith("B has a higher speed than A: ")
    assert result.in_words().endswith(f"which is {cell(ratio)} ({cell(low)} to {cell(high)}) times as much.")


def test_what_takes_no_time_is_compared_by_differences() -> None:
    result = contest({"A": {0: 0.0, 1: 0.0}, "B": {0: 1.0, 1: 2.0}}, "time", lower_is_better=True, by_ratio=True)
    assert "geometric" not in result.in_words()
    assert list(result.table()["mean"]) == [0.0, 1.5]


@pytest.mark.parametrize("by_ratio", [False, True])
def test_seeds_that_not_all_have_do_not_decide_who_is_first(by_ratio: bool) -> None:
    """A was run with five easier seeds too; in every seed that both have B is lower."""
    a = {seed: 1.0 + seed / 10 for seed in range(10)}
    b = {seed: a[seed] - 0.03 - 0.001 * (seed % 2) for seed in range(5, 10)}
    result = contest({"A": a, "B": b}, "loss", lower_is_better=True, by_ratio=by_ratio)
    assert result.in_words().startswith("B has a lower loss than A: ")
    assert [rival.mean.n for rival in result.rivals] == [5, 5]
    # C shares a seed with neither: the means are those of all, and the pairs, which say the opposite, decide nothing.
    result = contest({"A": a, "B": b, "C": {99: 9.0}}, "loss", lower_is_better=True, by_ratio=by_ratio)
    assert result.rivals[0].name == "A"
    assert not result.beaten


def test_times_that_are_not_told_apart_name_the_ratio_that_would_have_been_seen() -> None:
    one = {seed: 10.0 + (-1) ** seed for seed in range(6)}
    other = {seed: 10.0 - (-1) ** seed for seed in range(6)}
    said = contest({"A": one, "B": other}, "time", lower_is_better=True, unit="s", by_ratio=True).in_words()
    assert re.search(
        r"\(A 9\.9\d+ s, B 9\.9\d+ s in the geometric mean\); a ratio of 1\.\d+ could have been seen", said
    )


def test_what_cannot_be_told_apart_names_what_would_have_been_seen() -> None:
    one = {seed: 1.0 + 0.1 * (-1) ** seed for seed in range(6)}
    other = {seed: 1.0 - 0.1 * (-1) ** seed for seed in range(6)}
    said = contest({"A": one, "B": other}, "loss", lower_is_better=True).in_words()
    assert said.startswith("Not shown: 6 random seeds do not tell A from B by loss (A 1, B 1); a difference of 0.")
    assert said.endswith(" could have been seen.")


def test_what_would_have_been_seen_is_meant_among_the_rivals_that_are_not_told_apart() -> None:
    """Of three rivals one is beaten: the others would have to pass a half of the level."""
    draw = np.random.default_rng(0)
    made = {
        name: dict(enumerate(mean + 0.1 * draw.normal(size=6))) for name, mean in zip("ABCD", (1, 1, 1, 9), strict=True)
    }
    result = contest(made, "loss", lower_is_better=True)
    assert [rival.name for rival in result.beaten] == ["D"]
    for rival, seen in zip(result.rivals[1:], result.table()["would_be_seen"][1:], strict=True):
        assert rival.behind is not None
        assert seen == pytest.approx(rival.behind.detectable(LEVEL / 2))


def test_no_value_at_all_is_no_contest() -> None:
    with pytest.raises(ValueError, match="no kind of trial has a value of loss"):
        contest({"A": {}}, "loss", lower_is_better=True)


@pytest.mark.parametrize(
    ("problem", "asked", "command"),
    [
        ("optimizers", {}, "-P random_seed=0,1,2,3,4"),
        ("optimizers", {"epochs": "10"}, "-P epochs=10 -P random_seed=0,1,2,3,4"),
        (
            "optimizers",
            {"optimizer": "adam", "learning_rate": "0.01,0.1", "dropout": "true", "data_dir": "/home/me"},
            "-P optimizer=adam -P dropout=true -P learning_rate=0.01,0.1 -P random_seed=0,1,2,3,4",
        ),
        ("approximators", {"units": "64;16,16", "epochs": "9"}, "-P epochs=9 -P units='64;16,16' -P random_seed="),
        ("cutout", {"m": "0,8", "depth": "20", "random_seed": "0,1,2,3,4"}, "-P depth=20 -P m=0,8 -P random_seed="),
        (
            "cutout",
            {"m": "0,8", "model": "keras:/home/me/my.keras", "protocol": "corrected"},
            "-P model=keras:my.keras",
        ),
    ],
)
def test_a_command_that_settles_runs_the_same_trials_and_more_seeds(
    problem: str, asked: dict[str, str], command: str
) -> None:
    """By the parameters alone: archived trials do not say what their user typed."""
    parameters = entry_points.load_problem(problem).parameters
    trials = parse(parameters, asked).trials
    said = command_to_settle(problem, [StoredTrial("id", trial, {}, {}, {}, {}) for trial in trials])
    given = dict(word.split("=", 1) for word in shlex.split(said)[5:] if word != "-P")
    run_then = parse(parameters, given).trials
    wanted = {tuple(defining(trial).items()) for trial in trials}
    assert wanted <= {tuple(defining(trial).items()) for trial in run_then}
    seeds = [len({trial.random_seed for trial in each}) for each in (trials, run_then)]
    assert len(trials) / seeds[0] == len(run_then) / seeds[1]
    for part in command.split():
        assert part in said
    assert "/home/me" not in said


def test_a_command_that_settles_names_no_value_that_changed_nothing() -> None:
    """Of the trial without dropout, which comes first; the others drop after each layer."""
    without, with_dropout = stored("optimizers", 0, dropout_after="last"), stored("optimizers", 5)
    said = command_to_settle("optimizers", [without, with_dropout])
    assert "dropout_after" not in said
    last = stored("optimizers", 5, dropout_after="last")
    assert "-P dropout_after=last" in command_to_settle("optimizers", [stored("optimizers", 0), last])
    assert "dropout_after" not in command_to_settle("optimizers", [without])


@pytest.mark.parametrize(("tried", "seeds"), [(0, 5), (4, 5), (5, 10), (7, 14)])
def test_seeds_worth_a_try(tried: int, seeds: int) -> None:
    assert len(seeds_to_settle(tried).split(",")) == seeds
