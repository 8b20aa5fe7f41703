"""The lists of dependencies agree, and the commands the documentation promises are there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import dlperf

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONDA = yaml.safe_load((ROOT / "conda.yaml").read_text())
DEPENDENCIES = {
    canonicalize_name(requirement.name): requirement
    for requirement in map(Requirement, PYPROJECT["project"]["dependencies"])
}
PIP_LIST = CONDA["dependencies"][-1]["pip"]


class TestDependencies:
    def test_conda_has_python_pip_and_exact_pins_only(self):
        """Anything else would be in the conda environment and missing from the one that uv builds."""
        assert (CONDA["name"], CONDA["channels"]) == ("dlperf", ["conda-forge"])
        assert CONDA["dependencies"][:-1] == ["python=3.11", "pip"]
        assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9.]*", pin) for pin in PIP_LIST), PIP_LIST

    def test_every_runtime_dependency_is_pinned_once(self):
        names = [canonicalize_name(Requirement(pin).name) for pin in PIP_LIST]
        assert sorted(names) == sorted(DEPENDENCIES)

    @pytest.mark.parametrize("pin", PIP_LIST)
    def test_a_pin_is_within_its_range(self, pin):
        name, version = pin.split("==")
        assert Version(version) in DEPENDENCIES[canonicalize_name(name)].specifier

    def test_condas_python_is_within_the_range(self):
        version = CONDA["dependencies"][0].removeprefix("python=")
        assert Version(version) in SpecifierSet(PYPROJECT["project"]["requires-python"])

    def test_the_version_is_the_packages(self):
        assert PYPROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "dlperf.__version__"}
        assert Version(dlperf.__version__)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
class TestMakefile:
    def make(self, *arguments, **variables):
        # What an outer `make test` exports would change the inner one.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        command = ["make", *arguments, *(f"{name}={value}" for name, value in variables.items())]
        return subprocess.run(command, cwd=ROOT, env=inherited, capture_output=True, text=True, check=False)

    def test_help_is_the_default_and_lists_every_target(self):
        finished = self.make()
        assert finished.returncode == 0, finished.stderr
        assert finished.stdout == self.make("help").stdout
        listed = re.findall(r"^  make (\w+) +(\S.*)$", finished.stdout, re.MULTILINE)
        promised = {
            *("help", "setup", "demo", "quick", "test", "faults", "lint", "format", "mlproject", "results"),
            *("image", "benchmarks", "peers", "audit", "ui", "clean"),
        }
        assert {name for name, _ in listed} == promised
        phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert phony
        assert set(phony[1].split()) == promised

    @pytest.mark.parametrize("target", ["demo", "test", "lint"])
    def test_targets_build_the_environment_first(self, target, tmp_path):
        plan = self.make("--dry-run", target, VENV=tmp_path / "venv").stdout
        assert 0 < plan.index("-m venv") < plan.index("pip install") < plan.rindex(f"{tmp_path}/venv/bin/")

    def test_the_image_has_an_sbom_and_the_scanner_an_environment_of_its_own(self, tmp_path):
        plan = self.make("--dry-run", "image", VENV=tmp_path / "venv", AUDIT=tmp_path / "audit", VARIANT="gpu").stdout
        assert 0 < plan.index("docker build") < plan.index("pip list") < plan.index("cyclonedx_py")
        assert "--output-file dist/dlperf-image-gpu.cdx.json" in plan
        plan = self.make("--dry-run", "audit", VENV=tmp_path / "venv", AUDIT=tmp_path / "audit").stdout
        assert re.search(r"audit/bin/python -m pip install .*pip-audit==[\d.]+ cyclonedx-bom==[\d.]+\n", plan)

    def test_an_old_python_is_refused_in_one_line(self, tmp_path):
        old = tmp_path / "old-python"
        old.write_text('#!/bin/sh\n[ "$1" = -V ] && echo Python 3.10.1\nexit 1\n')
        old.chmod(0o755)
        finished = self.make("--silent", "setup", VENV=tmp_path / "venv", PYTHON=old)
        assert finished.returncode == 2
        assert f"{old} is Python 3.10.1, dlperf needs Python 3.11 to 3.13" in finished.stderr
        assert not (tmp_path / "venv").exists()

    def test_a_missing_python_is_refused_in_one_line(self, tmp_path):
        finished = self.make("--silent", "setup", VENV=tmp_path / "venv", PYTHON="no-such-python")
        assert finished.returncode == 2
        assert "no-such-python not found" in finished.stderr


PACKAGE = {"name": "numpy", "version": "2.4.6", "vulns": []}
VULNERABLE = {**PACKAGE, "vulns": [{"id": "CVE-1", "fix_versions": ["2.5"]}]}
SKIPPED = {"name": "local", "skip_reason": "not found on PyPI"}


@pytest.mark.parametrize(
    ("said", "status", "output"),
    [
        (json.dumps({"dependencies": [PACKAGE]}), 0, "1 packages asked about, 0 known vulnerabilities\n"),
        (
            json.dumps({"dependencies": [VULNERABLE, SKIPPED]}),
            1,
            "numpy 2.4.6: CVE-1, fixed in 2.5\nnot known to the service: local\n"
            "1 packages asked about, 1 known vulnerabilities\n",
        ),
        (json.dumps({"dependencies": [SKIPPED]}), 3, ": it knows none of the packages\n"),
        ("Traceback (most recent call last):\nConnectionError: no such host", 3, ": ConnectionError: no such host\n"),
    ],
)
def test_a_scanner_that_does_not_answer_is_told_from_one_that_knows_nothing(tmp_path, said, status, output):
    (tmp_path / "said").write_text(said)
    scanner = tmp_path / "pip-audit"
    scanner.write_text(f'#!/bin/sh\ncat "{tmp_path}/said"\ncat "{tmp_path}/said" >&2\n')
    scanner.chmod(0o755)
    audit = ROOT / ".ci" / "audit.py"
    program = (
        f"import runpy, sys; sys.executable = {str(scanner)!r}; runpy.run_path({str(audit)!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", program], input="numpy==2.4.6\n", capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    assert (done.stdout if status < 3 else done.stderr).endswith(output)
    assert (done.stdout if status == 3 else done.stderr.partition(said)[2]).strip() == ""


def test_ci_runs_what_the_makefile_offers():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    text = script.read_text()
    assert "set -euo pipefail" in text
    assert re.findall(r"^make (\w+)$", text, re.MULTILINE) == ["setup", "lint", "test"]


def test_the_licence_is_there_in_full():
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
