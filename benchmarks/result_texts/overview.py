"""The texts over all problems: one result of each, the counts of verdicts, and how often verdicts are right."""

from __future__ import annotations

from itertools import chain
from typing import Any

from scipy.stats import binom

from benchmarks.result_texts import problems
from benchmarks.result_texts.problems import table_of
from benchmarks.result_texts.sources import benchmark, shown, verdicts_by_problem
from benchmarks.verdicts import PUBLISHED_RUNS, SCENARIOS
from dlperf.claims.findings import CONTRADICTED, SUPPORTED
from dlperf.claims.verdicts import OUTCOMES, counted, in_words
from dlperf.entry_points import PROBLEMS
from dlperf.tables import cell

_STARTS = {
    "optimizers": ("adaptive learning rates", "python entrypoints/optimizers.py --dropout false"),
    "scaling": ("strong and weak, by workers", "mlflow run . -e scaling"),
    "architectures": ("where memory and work are", "mlflow run . -e architectures"),
    "cutout": ("copies of each image", "dlperf cutout --m 0,2,4,8 --depth 20 --train_examples 5000 --epochs 10"),
    "approximators": ("depth against width", "mlflow run . -e approximators"),
    "compare": ("stored runs beside published figures", "mlflow run . -e compare"),
}
# Claims whose verdicts stand on the page of compare: right, wrong, cut off, rounded.
_EXAMPLES = (
    "architectures/alexnet-60-million",
    "architectures/alexnet-bias-included",
    "architectures/inception-naive-total",
    "architectures/inception-factor",
    "architectures/alexnet-norm1-output",
)


def problem_table() -> str:
    """A row per problem: what it is about, how it is started, and one result."""
    counts: Any = shown("architectures").tables["architectures"].set_index(["subject", "account"])
    parameters = counts.num_params["alexnet", "paper"]
    results = {
        "optimizers": problems.lowest_loss("notebook_200_epochs"),
        "scaling": problems.speedups(),
        "architectures": f"AlexNet as in the paper has {parameters:,.0f} parameters by closed form, by Keras and in "
        "the compiled program",
        "cutout": problems.copies(),
        "approximators": problems.depths(),
        "compare": _counts(),
    }
    rows = [
        {"problem": f"[{name}](docs/{name}.md): {about}", "command": f"`{command}`", "one result": results[name]}
        for name, (about, command) in _STARTS.items()
    ]
    return table_of(rows)


def origins() -> str:
    """What the result of each problem was measured with."""
    by_origin: dict[str, list[str]] = {}
    for name in PROBLEMS:
        by_origin.setdefault(shown(name).origin, []).append(name)
    parts = [f"{', '.join(names)}: {origin}" for origin, names in by_origin.items()]
    return f"What was measured with what: {'; '.join(parts)}."


def verdict_counts() -> str:
    """A row per problem: how many claims have which verdict."""
    rows = []
    for name, judged in verdicts_by_problem().items():
        by_arithmetic = sum(v.claim.arithmetic and v.verdict in (SUPPORTED, CONTRADICTED) for v in judged)
        rows.append({"problem": name, "claims": len(judged), **counted(judged), "decided by arithmetic": by_arithmetic})
    return table_of(rows)


def compare() -> str:
    """The verdicts of the reference, and some of them."""
    all_of_them = list(chain.from_iterable(verdicts_by_problem().values()))
    by_id = {verdict.claim.id: verdict for verdict in all_of_them}
    rows = [
        {
            **{"claim": by_id[name].claim.says, "source": by_id[name].claim.source},
            **{"published": f"{by_id[name].claim.published:,.0f}", "here": cell(_number(by_id[name].finding.value))},
            "verdict": by_id[name].verdict,
        }
        for name in _EXAMPLES
    ]
    return f"""Verdicts on the trials that come with dlperf (`dlperf compare --archive reference`):
{in_words(all_of_them)}.

{verdict_counts()}

Some of them:

{table_of(rows)}"""


def stopping() -> str:
    """What other patiences would have cost the networks of problem 5."""
    table: Any = shown("approximators").tables["early_stopping"].set_index(["patience", "num_layers"])
    ends = ", ".join(f"{epoch:.0f}" for epoch in table.epoch[20])
    costs = ", ".join(f"{cost:.2g}" for cost in table.cost_restored[5])
    saved = ", ".join(f"{seconds:.0f}" for seconds in table.seconds_saved[5])
    return (
        "What stopping early cost: with the notebook's patience of 20 its networks of one, two and three layers end "
        f"after {ends} epochs; a patience of 5 would have cost {costs} in RMSE, and saved {saved} seconds a network."
    )


def verdict_rates() -> str:
    """How often verdicts on made trials are right."""
    figures = benchmark("compare/verdicts.json")["figures"]
    sets = min(row["sets"] for rows in figures.values() for row in rows)
    rows = []
    for name, scenarios in figures.items():
        by_name = {row["scenario"]: row for row in scenarios}
        without, published, reverse = (by_name[scenario] for scenario in SCENARIOS)
        runs = by_name.get(PUBLISHED_RUNS)
        rows.append(
            {
                **{"problem": name, "claims": published["claims"]},
                "without effect: sets with any supported": f"{without['sets_with_any_supported']:.1%}",
                "published effects: claims supported": f"{published['claims_supported']:.1%}",
                "contradicted": f"{published['claims_contradicted']:.1%}",
                "reversed effects: claims contradicted": f"{reverse['claims_contradicted']:.1%}",
                "published runs": runs["claims"] if runs else "-",
                "all true: sets with any contradicted": f"{runs['sets_with_any_contradicted']:.1%}" if runs else "-",
            }
        )
    fewest, most = (binom.ppf(tail, sets, 0.05) / sets for tail in (0.025, 0.975))
    return f"""{table_of(rows)}

Of {sets:,} sets of each kind. Asked for are at most 5 %, at least 80 % with none
contradicted, at least 80 %, and at most 5 %. A true rate of 5 % comes out between {fewest:.1%} and {most:.1%} in as
many sets, 95 times in 100."""


def _counts() -> str:
    judged = list(chain.from_iterable(verdicts_by_problem().values()))
    counts, by_arithmetic = counted(judged), counted(verdict for verdict in judged if verdict.claim.arithmetic)
    others = ", ".join(f"{counts[name]} {name}" for name in OUTCOMES if name not in (SUPPORTED, CONTRADICTED))
    return (
        f"of {len(judged)} claims, the trials that come with dlperf support {counts[SUPPORTED]} and contradict "
        f"{counts[CONTRADICTED]}, of which {by_arithmetic[SUPPORTED]} and {by_arithmetic[CONTRADICTED]} by arithmetic; "
        f"{others}"
    )


def _number(value: float) -> float:
    return int(value) if value.is_integer() else value
