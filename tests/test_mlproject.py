"""MLproject says what the declarations say, in a way that MLflow reads."""

import json
import subprocess
import sys
import types
from pathlib import Path

import click.testing
import pytest
import yaml
from mlflow.projects._project_spec import EntryPoint, load_project

from dlperf import entry_points, mlproject
from dlperf.declaration import parameter
from dlperf.parameters import Parameters, declared_defaults

ROOT = Path(__file__).resolve().parents[1]


class Example(Parameters):
    """Values that YAML or a shell could take for something else."""

    m: int = parameter((0, 4), ge=0, grid=True, help='copies: "M" #1 of {each} image')
    learning_rate: float = parameter(1e-4, gt=0, help="step size")
    dry_run: bool = parameter(False, help="list the trials only")
    title: str = parameter('it\'s "1e-1": {m} #2 \\ $HOME', help="anything")
    data_dir: str = parameter("", help="folder of the data")
    epochs: int = parameter(derived_from="m", ge=1, help="passes over the training set")

    @classmethod
    def derived_defaults(cls, known: object) -> dict[str, int]:
        """Epochs, whatever was given."""
        return {"epochs": 1}


def entry_point(folder: Path, name: str) -> EntryPoint:
    """Render into a folder and let MLflow read it."""
    (folder / "MLproject").write_text(mlproject.render(mlproject.CONDA_ENVIRONMENT), encoding="utf-8")
    (folder / "conda.yaml").write_text("name: any\n")
    return load_project(str(folder)).get_entry_point(name)


def received(command: str, name: str) -> list[str]:
    """The arguments that a command of MLflow's hands to the script, through a real shell."""
    script = f"python entrypoints/{name}.py"
    assert command.startswith(script)
    assert "\n" not in command
    echo = f"'{sys.executable}' -c 'import json, sys; print(json.dumps(sys.argv[1:]))'"
    shell = subprocess.run(
        ["bash", "-c", echo + command.removeprefix(script)], capture_output=True, text=True, check=True
    )
    arguments: list[str] = json.loads(shell.stdout)
    return arguments


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> None:
    """The example in the place of every problem."""
    monkeypatch.setattr(
        entry_points,
        "load",
        lambda name: types.SimpleNamespace(name=name, summary="An example.", example="", parameters=Example),
    )


@pytest.mark.usefixtures("example")
def test_awkward_defaults_and_values_pass_yaml_and_shell(tmp_path: Path) -> None:
    point = entry_point(tmp_path, "cutout")
    defaults = {name: value for name, value in declared_defaults(Example).items() if value}
    assert {name: each.default for name, each in point.parameters.items()} == defaults
    assert all(each.type == "string" for each in point.parameters.values())

    given = {"title": "a b;'c' \"d\" $(e) {f}", "epochs": "5", "data_dir": "/my data"}
    arguments = received(point.compute_command(given, None), "cutout")
    assert dict(zip(arguments[::2], arguments[1::2], strict=True)) == {
        f"--{name}": value for name, value in {**defaults, **given}.items()
    }


@pytest.mark.usefixtures("example")
def test_parameters_without_fixed_default_are_named_in_a_comment() -> None:
    rendered = mlproject.render(mlproject.CONDA_ENVIRONMENT)
    assert "# - epochs: follows from m. Passes over the training set. An integer, at least 1.\n" in rendered
    assert "# - data_dir: empty unless given. Folder of the data.\n" in rendered
    assert "{epochs}" not in rendered
    assert max(map(len, rendered.splitlines())) <= 120


@pytest.mark.usefixtures("example")
def test_another_environment_has_the_same_entry_points() -> None:
    conda = yaml.safe_load(mlproject.render(mlproject.CONDA_ENVIRONMENT))
    docker = yaml.safe_load(mlproject.render("docker_env:\n  image: example\n"))
    assert docker["docker_env"] == {"image": "example"}
    assert docker["entry_points"] == conda["entry_points"]


@pytest.mark.parametrize("name", entry_points.NAMES)
def test_committed_declarations_reach_the_script(name: str, tmp_path: Path) -> None:
    point = entry_point(tmp_path, name)
    declared = declared_defaults(entry_points.load(name).parameters)
    arguments = received(point.compute_command({}, None), name)
    assert dict(zip(arguments[::2], arguments[1::2], strict=True)) == {
        f"--{name}": value for name, value in declared.items() if value
    }


def test_committed_files_are_what_the_declarations_render() -> None:
    assert mlproject.PROJECT_FILES.keys() == {"MLproject", "docker/MLproject"}
    for name, environment in mlproject.PROJECT_FILES.items():
        assert (ROOT / name).read_text(encoding="utf-8") == mlproject.render(environment)
    assert click.testing.CliRunner().invoke(mlproject.main, ["--check"]).exit_code == 0


def test_mlflow_reads_the_docker_environment() -> None:
    project = load_project(str(ROOT / "docker"))
    assert project.docker_env["image"] == "dlperf"
    folders = {volume.partition(":")[2] for volume in project.docker_env["volumes"]}
    assert folders == {"/data", "/cache", "/state"}


@pytest.mark.usefixtures("example")
def test_check_names_the_first_difference_in_one_line() -> None:
    result = click.testing.CliRunner().invoke(mlproject.main, ["--check"])
    assert result.exit_code == 1
    assert len(result.output.splitlines()) == 1
    assert "run `python -m dlperf.mlproject`" in result.output
