"""No module in benchmarks/ without a smoke test, and each says first how it is started and how long it takes."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.support.desk import ROOT

MODULES = sorted(path for path in (ROOT / "benchmarks").glob("*.py") if path.name != "__init__.py")
# They measure nothing by themselves.
PARTS = {"record", "notebook_way"}


def calls(tree: ast.Module, module: str) -> bool:
    """Whether a test starts the module by its name, or imports from it."""
    tests = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name.startswith("test_")]
    started = any(
        isinstance(call, ast.Call) and call.args and ast.unparse(call.args[0]) == repr(module)
        for test in tests
        for call in ast.walk(test)
    )
    imported = any(isinstance(n, ast.ImportFrom) and n.module == f"benchmarks.{module}" for n in tree.body)
    return started or (bool(tests) and imported)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_benchmark_has_a_smoke_test(path: Path) -> None:
    smoke_test = Path(__file__).with_name(f"test_{path.stem}.py")
    assert smoke_test.exists(), f"benchmarks/{path.name} has no tests/benchmarks/{smoke_test.name}"
    module_calls = calls(ast.parse(smoke_test.read_text()), path.stem)
    assert module_calls, f"{smoke_test.name} neither starts nor imports benchmarks.{path.stem}"


@pytest.mark.parametrize("path", [path for path in MODULES if path.stem not in PARTS], ids=lambda path: path.stem)
def test_a_benchmark_says_first_its_command_and_how_long_it_takes(path: Path) -> None:
    says = (ast.get_docstring(ast.parse(path.read_text())) or "").splitlines()[0]
    assert re.match(rf"`python -m benchmarks\.{path.stem}[^`]*`, (\d+|a|half a) minutes? on 2 cores: ", says), says


def test_make_starts_benchmarks_that_exist() -> None:
    started = re.search(r"^benchmarks: .*\n.*for name in ([\w ]+);", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert started
    assert set(started[1].split()) <= {path.stem for path in MODULES} - PARTS
