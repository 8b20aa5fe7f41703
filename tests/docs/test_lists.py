"""The lists of the documentation are those of the code, in both directions."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dlperf import clock, entry_points, errors
from dlperf.data import NAMES as DATA_SETS
from dlperf.data.user_data import KINDS
from dlperf.declaration import text
from dlperf.entry_points import PROBLEMS
from dlperf.metric_names import EPOCH_METRICS, has_best
from dlperf.parameters import describe
from dlperf.problems.approximators.parameters import EGGHOLDER
from dlperf.problems.scaling.parameters import SYNTHETIC
from tests.docs.commands import entry_point_of
from tests.docs.ends import statuses
from tests.docs.pages import DOCS, ROOT, code_spans, first_column, names, shell_lines, tables

TRACKING = DOCS / "tracking.md"
RUNNING = DOCS / "running.md"
SOURCES = sorted((ROOT / "dlperf").rglob("*.py"))
# Texts that are written like tags: labels of containers and images, and a key of click's.
NO_TAGS = {"dlperf.run_id", "dlperf.tunnel_port", "dlperf.context", "dlperf.packages", "dlperf.arguments"}
TRAINS = {"optimizers", "cutout", "approximators"}


def texts(source: Path) -> Iterator[str]:
    """Every text of a source, those that f-strings begin with included, docstrings left out."""
    tree = ast.parse(source.read_text())
    docstrings = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def is_module(name: str) -> bool:
    place = ROOT / name.replace(".", "/")
    return place.is_dir() or place.with_suffix(".py").is_file()


def test_tags() -> None:
    wanted = re.compile(r"dlperf\.[a-z_]+")
    documented = first_column(TRACKING, "Tags")
    found = {text for source in SOURCES for text in texts(source) if wanted.fullmatch(text)}
    found = {text for text in found if text in documented or not is_module(text)}  # a module may be named like a tag
    prefixes = {text for source in SOURCES for text in texts(source) if re.fullmatch(r"dlperf\.[a-z_]+\.", text)}
    found |= {f"{prefix}PROBLEM" for prefix in prefixes if not is_module(prefix.removesuffix("."))}
    assert documented == found - NO_TAGS


def test_metrics_of_epochs() -> None:
    assert first_column(TRACKING, "Metrics of each epoch") == set(EPOCH_METRICS)


def test_time_accounts() -> None:
    assert first_column(TRACKING, "Time accounts") == {f"{name}_seconds" for name in (*clock.ACCOUNTS, "wall")}


@pytest.mark.parametrize("name", PROBLEMS)
def test_metrics_that_a_problem_asks_of_its_runs_are_documented(name: str) -> None:
    problem = entry_points.load_problem(name)
    documented = {
        *first_column(TRACKING, "Final metrics"),
        *first_column(TRACKING, "Time accounts"),
        *(first_column(TRACKING, name) if name in ("scaling", "architectures") else ()),
        *EPOCH_METRICS,
        *(f"best_{metric}" for metric in EPOCH_METRICS if has_best(metric)),
    }
    assert {*problem.required, *problem.compared} <= documented
    assert {*problem.curves, *filter(None, [problem.monitor])} <= set(EPOCH_METRICS)


def documented_defaults(page: Path, section: str = "Parameters") -> dict[str, tuple[str, str]]:
    """Parameters of the tables of a section: their default as the table writes it, and where it does."""
    found = {}
    for table in tables(page, section):
        for row in table[1:]:
            parameters, defaults = names(row[0]), names(row[1])
            several = len(parameters) > 1 and len(defaults) == len(parameters)
            for number, parameter in enumerate(parameters):
                written = defaults[number] if several else row[1].text
                found[parameter] = (written, str(row[0]))
    return found


@pytest.mark.parametrize("name", [*PROBLEMS, "compare"])
def test_parameters_and_their_defaults(name: str) -> None:
    declared = {each.name: each for each in describe(entry_points.load(name).parameters)}
    own = documented_defaults(DOCS / f"{name}.md")
    shared = documented_defaults(RUNNING) if name != "compare" else {}
    assert own.keys() <= declared.keys()
    assert declared.keys() - own.keys() <= shared.keys()
    for parameter, description in declared.items():
        written, place = own.get(parameter) or shared[parameter]
        if description.default is None:  # derived from others; the page says from what
            assert not re.fullmatch(r"`[^`]*`", written), place
        else:
            assert written.strip("`") == (description.default or "empty"), place


def test_shared_parameters_are_those_of_the_problems_that_the_page_names() -> None:
    declared = {name: {each.name for each in describe(entry_points.load_problem(name).parameters)} for name in PROBLEMS}
    training = {"random_seed", "dry_run", "measure", "state_dir"}
    tracked = {"finish_seconds", "wide", "open"}
    protocol = {"protocol", "threads", "save_model"}
    engine = {"processes", "engine", "cpus_per_trial", "gpus_per_trial"}
    images = {"dataset", "data_dir", "train_examples", "image_size", "skip_broken", "split_seed"}
    assert set(documented_defaults(RUNNING)) == training | tracked | protocol | engine | images | {"onednn"}
    for name in PROBLEMS:
        assert tracked <= declared[name]
        assert (training <= declared[name]) == (name != "architectures"), name
        assert (protocol <= declared[name]) == (name in TRAINS), name
        assert (engine <= declared[name]) == (name != "scaling"), name
        assert (images <= declared[name]) == (name in ("optimizers", "cutout", "scaling")), name
        assert ("onednn" in declared[name]) == (name in ("optimizers", "cutout", "scaling")), name


@pytest.mark.parametrize("name", sorted(TRAINS))
def test_what_the_protocols_set(name: str) -> None:
    model: Any = entry_points.load_problem(name).parameters
    (table,) = tables(DOCS / f"{name}.md", "Protocols")
    assert [cell.text for cell in table[0][1:]] == ["notebook", "corrected"]
    held = 0
    for row in table[1:]:
        for parameter in set(names(row[0])) & set(model.model_fields):
            for protocol, cell in zip(("notebook", "corrected"), row[1:], strict=True):
                assert names(cell)[0] == text(getattr(model.resolve({"protocol": protocol}), parameter)), str(cell)
                held += 1
    assert held


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_demo_page_shows_each_problems_reduced_start(name: str) -> None:
    shown = [entry_point_of(line.text) for line in shell_lines(RUNNING)]
    assert (name, dict(entry_points.load_problem(name).demo)) in shown


def test_the_demos_parameters() -> None:
    names = {parameter.name for parameter in describe(entry_points.load("main").parameters)}
    section = (ROOT / "docs" / "running.md").read_text().partition("## The demo")[2].partition("## ")[0]
    (sentence,) = (part for part in " ".join(section.split()).split(". ") if part.startswith("Its parameters are"))
    assert {word for word in sentence.split("`") if word in names} == names
    assert names == {"random_seed", "finish_seconds", "wide", "open"}


def exit_statuses(kind: type[BaseException]) -> Iterator[int]:
    status = vars(kind).get("exit_status")
    if isinstance(status, int):
        yield status
    for below in kind.__subclasses__():
        yield from exit_statuses(below)


def test_exit_statuses() -> None:
    signals = {128 + 2, 128 + 15}
    assert set(statuses()) == {0, *exit_statuses(errors.DlperfError), *signals}


def test_environment_variables() -> None:
    wanted = re.compile(r"\b(?:MLFLOW|DLPERF)_[A-Z_]+\b(?!_)")
    found = {name for source in SOURCES for text in texts(source) for name in wanted.findall(text)}
    for file in (ROOT / "docker" / "entrypoint.sh", ROOT / "Dockerfile"):
        found |= set(wanted.findall(file.read_text()))
    documented = first_column(RUNNING, "Environment variables")
    assert {name for name in documented if wanted.fullmatch(name)} == found
    others = documented - found
    everything = "\n".join(source.read_text() for source in SOURCES)
    assert not [name for name in others if name not in everything]


def test_data_sets() -> None:
    documented = {name.partition(":")[0] for name in first_column(DOCS / "data.md", "Data sets")}
    assert documented == {*DATA_SETS, SYNTHETIC, EGGHOLDER, *KINDS}


def test_variables_of_the_teams_server() -> None:
    given = re.findall(r"\$\{(\w+)", (ROOT / "compose.yaml").read_text())
    assert first_column(DOCS / "team-tracking.md", "A tracking server for a team") == set(given)


def test_the_benchmarks() -> None:
    modules = {path.stem for path in (ROOT / "benchmarks").glob("*.py") if '__name__ == "__main__"' in path.read_text()}
    modules -= {"write_results"}  # which measures nothing
    shown = {
        found[1]
        for span in code_spans(DOCS / "benchmarks.md")
        if (found := re.match(r"python -m benchmarks\.(\w+)", span.text))
    }
    assert shown == modules


def test_the_number_of_claims() -> None:
    claims = yaml.safe_load((ROOT / "dlperf" / "claims" / "claims.yaml").read_text())
    assert f"holds {len(claims)} claims" in (DOCS / "compare.md").read_text()


def test_what_is_promised_names_tests_that_are_there() -> None:
    (table,) = tables(DOCS / "reliability.md", "Promised")
    assert len(table) > 10
    for row in table[1:]:
        assert names(row[-1])
        assert not [name for name in names(row[-1]) if not (ROOT / name).is_file()], str(row[0])
