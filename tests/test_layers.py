"""Imports go one way, no files import each other in a circle, and what has to stay light is light, by the sources."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "dlperf"
MODULES = sorted(PACKAGE.rglob("*.py"))
# May name TensorFlow: the compiled epochs, one layer that Keras lacks, and what asks for programs and gradients.
TENSORFLOW = {
    *(
        f"dlperf.training.{name}"
        for name in (
            *("compiled_epoch", "image_epoch", "dense_epoch", "dense_graph_epoch", "distributed_step"),
            "vector_update",
        )
    ),
    *("dlperf.problems.scaling.worker", "dlperf.models.batch_norm"),
    *("dlperf.keras_accounting.calls", "dlperf.keras_accounting.compiled_program"),
    *("dlperf.keras_accounting.gradient_support", "dlperf.keras_accounting.measured"),
}
# Rooms from what a user starts down to what everything rests on. A file imports from its own room and from those on
# lines below; rooms that share a line do not know each other.
ROOMS: list[set[str]] = [
    {"dlperf.__main__"},
    {"dlperf.cli", "dlperf.mlproject"},
    {"dlperf.remote"},
    {"dlperf.runner", "dlperf.comparison"},
    {"dlperf.engines", "dlperf.tracking"},
    {"dlperf.page", "dlperf.archive"},
    {"dlperf.problems"},
    {"dlperf.claims"},
    {"dlperf.analysis"},
    {"dlperf.training"},
    {"dlperf.models", "dlperf.data", "dlperf.keras_accounting"},
    {"dlperf.terminal", "dlperf.entry_points"},
    {"dlperf.problem"},
    {"dlperf.trial", "dlperf.explicit"},
    {"dlperf.parameters"},
    {"dlperf.declaration"},
]
HEAVY = {"tensorflow", "keras", "mlflow", "numpy", "pandas", "matplotlib", "seaborn", "sklearn", "scipy", "ray"}
# Read when a command line is parsed or helped with, so that none of it waits for what computes.
LIGHT = {
    "entry_points",
    "problem",
    "parameters",
    "search",
    "shared_parameters",
    "model_parameters",
    "trial",
    "declaration",
    "cli",
}


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path) for path in MODULES}


def imports_of(path: Path, *, types_only: bool = True, lazy: bool = True) -> set[str]:
    """Names of the modules that a file imports.

    Args:
        path: The file.
        types_only: Include those under TYPE_CHECKING.
        lazy: Include those inside functions.
    """

    def visit(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test) and not types_only:
            return
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not lazy:
            return
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names} & NAMES
            yield from submodules
            if len(submodules) < len(node.names):
                yield node.module
        for child in ast.iter_child_nodes(node):
            yield from visit(child)

    return set(visit(ast.parse(path.read_text())))


def roots(imported: set[str]) -> set[str]:
    return {name.split(".")[0] for name in imported}


def room_of(module: str) -> int:
    """The line of a module's room; those that stand in none are the ground that everything may rest on."""
    while module:
        for number, rooms in enumerate(ROOMS):
            if module in rooms:
                return number
        module = module.rpartition(".")[0]
    return len(ROOMS)


def rooms_known_to(module: str) -> set[str]:
    """The rooms beside a module's own on its line, which it must not import."""
    number = room_of(module)
    return {r for r in ROOMS[number] if not f"{module}.".startswith(f"{r}.")} if number < len(ROOMS) else set()


def first_circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Names along a circle of imports; empty where there is none."""
    try:
        TopologicalSorter({module: others - {module} for module, others in graph.items()}).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_two_files_import_each_other() -> None:
    assert first_circle({name_of(path): imports_of(path) & NAMES for path in MODULES}) == []


def test_a_circle_would_be_seen(tmp_path: Path) -> None:
    assert first_circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})
    (tmp_path / "a.py").write_text("if TYPE_CHECKING:\n    from dlperf.cli import main\ndef f():\n    import numpy\n")
    assert imports_of(tmp_path / "a.py") == {"dlperf.cli", "numpy"}
    assert imports_of(tmp_path / "a.py", types_only=False, lazy=False) == set()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_down(path: Path) -> None:
    module = name_of(path)
    for imported in imports_of(path) & NAMES:
        assert room_of(imported) >= room_of(module), f"{module} imports {imported}"
        assert not any(f"{imported}.".startswith(f"{room}.") for room in rooms_known_to(module)), (module, imported)


@pytest.mark.parametrize("path", [p for p in MODULES if name_of(p).startswith("dlperf.problems.")], ids=name_of)
def test_problems_know_neither_tracking_nor_each_other(path: Path) -> None:
    own = ".".join(name_of(path).split(".")[:3])
    shared = {f"dlperf.problems.{name}" for name in ("shared_parameters", "model_parameters", "plots")}
    for imported in imports_of(path) & NAMES:
        assert not imported.startswith("dlperf.tracking")
        assert not imported.startswith("dlperf.problems.") or imported in shared or imported.startswith(own)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_mlflow_and_tensorflow_have_their_places(path: Path) -> None:
    module, imported = name_of(path), roots(imports_of(path, types_only=False))
    assert "mlflow" not in imported or module.startswith("dlperf.tracking.")
    assert "ray" not in imported or module == "dlperf.engines.cluster"
    assert "tensorflow" not in imported or module in TENSORFLOW


@pytest.mark.parametrize("room", ["accounting", "parameters", "declaration", "errors", "clock", "metric_names"])
def test_the_ground_is_plain_python(room: str) -> None:
    paths = [p for p in MODULES if name_of(p) == f"dlperf.{room}" or name_of(p).startswith(f"dlperf.{room}.")]
    assert paths
    for path in paths:
        assert not roots(imports_of(path)) & HEAVY


def loaded_with(module: str, seen: set[str]) -> set[str]:
    """What importing a module imports at module level, through files of dlperf too."""
    if module in seen or module not in NAMES:
        return {module}
    seen.add(module)
    (path,) = (p for p in MODULES if name_of(p) == module)
    direct = imports_of(path, types_only=False, lazy=False)
    return {module}.union(*(loaded_with(each, seen) for each in direct))


@pytest.mark.parametrize("path", [p for p in MODULES if p.stem in LIGHT], ids=name_of)
def test_what_a_command_line_needs_is_light(path: Path) -> None:
    assert not roots(loaded_with(name_of(path), set())) & HEAVY


def test_the_root_is_no_store_room() -> None:
    assert len([p for p in MODULES if p.parent == PACKAGE]) <= 20
    assert not [p for p in MODULES if p.stem in {"utils", "util", "common", "helpers", "helper", "misc"}]
