"""Imports go one way, and what has to stay light is light: read from the sources."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "dlperf"
MODULES = sorted(PACKAGE.rglob("*.py"))
# May name TensorFlow: the loop's engine, one layer that Keras lacks, and what asks for programs and gradients.
TENSORFLOW = {
    *("dlperf.compiled_epoch", "dlperf.compiled_image_epoch", "dlperf.compiled_dense_epoch"),
    *("dlperf.distribution", "dlperf.scaling_worker"),
    *("dlperf.models.batch_norm", "dlperf.compiled_count", "dlperf.gradient_support"),
}
# From what a user starts down to what everything rests on; a module imports its own line and those below.
LINES = [
    {"dlperf.__main__", "dlperf.cli", "dlperf.mlproject"},
    {"dlperf.remote"},
    {"dlperf.sweep", "dlperf.comparison"},
    {"dlperf.sweep_runs"},
    {"dlperf.trial_run"},
    {"dlperf.tracking", "dlperf.resume", "dlperf.planning", "dlperf.terminal", "dlperf.interruption"},
    {"dlperf.engines"},
    {"dlperf.execution"},
    {"dlperf.scaling_worker"},
    {"dlperf.problems", "dlperf.plots", "dlperf.tracking_query", "dlperf.tracking_server"},
    {"dlperf.claims"},
    {"dlperf.settings", "dlperf.statistics"},
    {"dlperf.training", "dlperf.scaling_job", "dlperf.distribution"},
    {"dlperf.compiled_image_epoch", "dlperf.compiled_dense_epoch"},
    {"dlperf.compiled_epoch", "dlperf.progress", "dlperf.checkpoint"},
    {"dlperf.objectives"},
    {"dlperf.models", "dlperf.data", "dlperf.augment", "dlperf.update_rules", "dlperf.keras_accounting"},
    {"dlperf.counter_hash", "dlperf.rmsprop_nesterov", "dlperf.compiled_count", "dlperf.gradient_support"},
    {"dlperf.trial", "dlperf.tables", "dlperf.process"},
    {
        "dlperf.metric_names",
        "dlperf.clock",
        "dlperf.scaling_laws",
        "dlperf.parameters",
        "dlperf.accounting",
        "dlperf.environment",
    },
    {"dlperf.declaration"},
    {"dlperf.errors", "dlperf"},
]


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path, *, module_level_only: bool = False) -> set[str]:
    """Names of imported modules; those under TYPE_CHECKING are not imported when the program runs."""
    tree = ast.parse(path.read_text())
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            return
        if module_level_only and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names}
            known = {name_of(module) for module in MODULES}
            found.update((submodules & known) or {node.module})
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree)
    return found


def line_of(module: str) -> int:
    while module:
        for number, line in enumerate(LINES):
            if module in line:
                return number
        module = module.rpartition(".")[0]
    raise AssertionError("every module stands in a line")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_down(path: Path) -> None:
    module = name_of(path)
    for imported in imports_of(path):
        if imported.split(".")[0] == "dlperf":
            assert line_of(imported) >= line_of(module), f"{module} imports {imported}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_mlflow_and_tensorflow_have_their_places(path: Path) -> None:
    module, roots = name_of(path), {name.split(".")[0] for name in imports_of(path)}
    assert "mlflow" not in roots or module.startswith("dlperf.tracking")
    assert "ray" not in roots or module == "dlperf.engines.cluster"
    assert "tensorflow" not in roots or module in TENSORFLOW


@pytest.mark.parametrize("package", ["accounting", "parameters", "declaration", "errors", "clock"])
def test_the_base_is_plain_python(package: str) -> None:
    paths = [p for p in MODULES if name_of(p).startswith(f"dlperf.{package}")]
    assert paths
    for path in paths:
        roots = {name.split(".")[0] for name in imports_of(path)}
        assert not roots & {"tensorflow", "keras", "mlflow", "numpy", "pandas", "matplotlib"}


@pytest.mark.parametrize(
    "name",
    [
        "main",
        "optimizers",
        "scaling",
        "architectures",
        "cutout",
        "approximators",
        "compare",
        "training_parameters",
        "engine_parameters",
    ],
)
def test_problem_modules_import_nothing_heavy(name: str) -> None:
    imported = imports_of(PACKAGE / "problems" / f"{name}.py", module_level_only=True)
    roots = {module.split(".")[0] for module in imported}
    assert not roots & {"tensorflow", "keras", "mlflow", "numpy", "pandas", "matplotlib", "seaborn", "sklearn"}
    heavy = {
        *("cutout_protocols", "approximator_network", "approximator_tables", "approximator_figures"),
        *("optimizer_network", "optimizer_tables", "optimizer_figures"),
        *("scaling_network", "scaling_measurement", "scaling_tables", "scaling_figures"),
    }
    assert not imported & {f"dlperf.problems.{name}" for name in heavy}


def test_no_module_says_nothing() -> None:
    assert not [p for p in MODULES if p.stem in {"utils", "util", "common", "helpers", "helper", "misc"}]
