"""The command line: what it accepts, how it refuses, and what it does not import."""

import shlex
import signal
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from dlperf import cli, entry_points
from dlperf.archive.parameters import ArchiveParameters
from dlperf.declaration import parameter
from dlperf.errors import BadInput, Ended, EnvironmentMissing, TrialFailed
from dlperf.parameters import Parameters, parse
from dlperf.remote.parameters import read_arguments
from dlperf.runner.runs_parameters import RunsParameters

ROOT = Path(__file__).resolve().parents[1]


class Example(Parameters):
    """The parameters of a problem that needs no data."""

    m: int = parameter(0, ge=0, grid=True, help="copies of each image")
    depth: int = parameter(44, ge=8, help="layers")
    train_examples: int = parameter(0, ge=0, unit="images", help="size of the training set")
    epochs: int = parameter(derived_from="m", ge=1, help="passes over the training set")
    dry_run: bool = parameter(False, operational=True, help="list the trials only")

    @classmethod
    def derived_defaults(cls, known: object) -> dict[str, int]:
        """Epochs, whatever was given."""
        return {"epochs": 1}


class Sweep(types.ModuleType):
    """Stands for `dlperf.runner.start`: notes what it was handed, and ends as it is told to."""

    def __init__(self) -> None:
        """Start nothing, refuse nothing."""
        super().__init__("dlperf.runner.start")
        self.started: list[dict[str, str]] = []
        self.refused: list[BadInput] = []
        self.ending: Callable[[], int] = lambda: 0

    def start(self, problem: object, raw: dict[str, str]) -> int:
        """Note and end."""
        self.started.append(raw)
        return self.ending()

    def refuse(self, error: BadInput) -> None:
        """Note, then fail as an unreachable tracking server does."""
        self.refused.append(error)
        raise ConnectionError("no server")


@pytest.fixture
def sweep(monkeypatch: pytest.MonkeyPatch) -> Sweep:
    """The command line with an example problem and a sweep that runs nothing."""
    fake = Sweep()
    monkeypatch.setitem(sys.modules, "dlperf.runner.start", fake)
    monkeypatch.setattr(
        entry_points,
        "load",
        lambda name: types.SimpleNamespace(
            name=name, summary="An example.", example="", parameters=Example, distributed=None
        ),
    )
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    return fake


def raising(error: BaseException) -> Callable[[], int]:
    """A start that ends with an exception."""

    def ending() -> int:
        raise error

    return ending


@pytest.mark.parametrize(
    ("argv", "raw"),
    [
        ([], {}),
        (["--m", "0,4"], {"m": "0,4"}),
        (["--m=4", "--depth", "20", "--dry_run", "true"], {"m": "4", "depth": "20", "dry_run": "true"}),
    ],
)
def test_what_was_given_is_handed_over_as_text(sweep: Sweep, argv: list[str], raw: dict[str, str]) -> None:
    assert cli.entry_point("cutout", argv) == 0
    assert cli.main(["cutout", *argv]) == 0
    assert sweep.started == [raw, raw]


VALID = "(valid: m, depth, train_examples, epochs, dry_run)"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--m", "abc"], "m=abc: must be an integer, at least 0, or a comma list of them"),
        (["--m", "-1"], "m=-1: must be an integer, at least 0, or a comma list of them"),
        (["--m", "4,4"], "m=4,4: 4 stands twice; each value may stand once"),
        (["--mm", "4"], f"mm=4: unknown parameter; did you mean m? {VALID}"),
        (["--mm=4", "--m", "2"], f"mm=4: unknown parameter; did you mean m? {VALID}"),
        (["--mm"], f"mm=: unknown parameter; did you mean m? {VALID}"),
        (["--train-examples", "9"], f"train-examples=9: unknown parameter; did you mean train_examples? {VALID}"),
        (["--m"], "m=: --m needs a value: an integer, at least 0, or a comma list of them"),
        (["--m", ""], "m=: --m needs a value: an integer, at least 0, or a comma list of them"),
        (["--m", "--depth", "8"], "m=: --m needs a value: an integer, at least 0, or a comma list of them"),
        (["--dry_run"], "dry_run=: --dry_run needs a value: true or false"),
        (["--depth", "8", "--depth", "14"], "depth=14: given twice (--depth 8 and --depth 14); give it once"),
        (["--m", "1", "--m", "2"], "m=2: given twice (--m 1 and --m 2); give it once, or as a comma list: 1,2"),
        (["4"], "argument=4: not expected; parameters are written --NAME VALUE"),
        (["-m", "4"], "argument=-m: not expected; parameters are written --NAME VALUE"),
        (["--m", "a\nb"], "m=a b: must be an integer, at least 0, or a comma list of them"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    sweep: Sweep, capsys: pytest.CaptureFixture[str], argv: list[str], message: str
) -> None:
    assert cli.entry_point("cutout", argv) == 2
    assert cli.main(["cutout", *argv]) == 2
    assert capsys.readouterr() == ("", f"dlperf cutout: {message}\n" * 2)
    assert (sweep.started, sweep.refused) == ([], [])


@pytest.mark.parametrize("argument", ["--resume", "--send", "--state_dir", "--tracking_uri"])
def test_an_empty_value_of_a_command_of_the_program_is_refused(
    capsys: pytest.CaptureFixture[str], argument: str
) -> None:
    """`dlperf runs --send "$ID"` with the variable unset is not to list, nor to look elsewhere."""
    for arguments in ([argument, ""], [f"{argument}="]):
        assert cli.main(["runs", *arguments]) == 2
        assert capsys.readouterr().err == f"dlperf runs: {argument[2:]}=: {argument} needs a value: text\n"


def test_bad_input_ends_the_run_that_mlflow_made(
    sweep: Sweep, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    assert cli.entry_point("cutout", ["--m", "abc"]) == 2
    assert cli.entry_point("cutout", ["--m"]) == 2
    assert [error.parameter for error in sweep.refused] == ["m", "m"]
    assert "no server" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (BadInput("data_dir", "/x", "is not there"), 2, "dlperf cutout: data_dir=/x: is not there"),
        (TrialFailed("the loss is not finite"), 1, "dlperf cutout: the loss is not finite"),
        (EnvironmentMissing("no server"), 3, "dlperf cutout: no server"),
        (Ended(signal.SIGTERM, "asked to stop"), 143, "dlperf cutout: asked to stop"),
        (KeyboardInterrupt(), 130, "dlperf: interrupted"),
    ],
)
def test_every_way_to_end_has_its_status(
    sweep: Sweep, capsys: pytest.CaptureFixture[str], error: BaseException, status: int, line: str
) -> None:
    sweep.ending = raising(error)
    assert cli.main(["cutout"]) == status
    assert capsys.readouterr().err == line + "\n"


@pytest.mark.parametrize("error", [ZeroDivisionError(), EOFError()])
def test_a_bug_keeps_its_traceback(sweep: Sweep, error: Exception) -> None:
    sweep.ending = raising(error)
    with pytest.raises(type(error)):
        cli.main(["cutout"])


def test_status_of_start_is_passed_on(sweep: Sweep) -> None:
    sweep.ending = lambda: 1
    assert cli.main(["cutout"]) == 1


def test_group_lists_entry_points_and_refuses_others(sweep: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    listed = capsys.readouterr().out
    assert [name for name in entry_points.NAMES if f"  {name}  " in listed] == list(entry_points.NAMES)
    assert cli.main(["--version"]) == 0
    assert cli.main(["cutot"]) == 2
    names = ", ".join([*entry_points.NAMES, "runs", "archive", "remote"])
    assert capsys.readouterr().err == f"dlperf: unknown entry point cutot; did you mean cutout? (valid: {names})\n"
    for argv in (["--foo"], ["cutout", "--help=x"]):
        assert cli.main(argv) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_help_says_type_bounds_unit_and_default(sweep: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.entry_point("cutout", ["--help"]) == 0
    words = " ".join(capsys.readouterr().out.split())
    assert "Copies of each image. An integer, at least 0, or a comma list of them. [default: 0]" in words
    assert "Size of the training set. An integer (images), at least 0. [default: 0]" in words
    assert "[default: follows from m]" in words


@pytest.mark.parametrize(
    "arguments", [["--help"], *([name, "--help"] for name in entry_points.NAMES), ["cutout", "--m", "x"]]
)
def test_help_and_refusals_import_nothing_heavy(arguments: list[str]) -> None:
    code = f"import sys; from dlperf.cli import main; main({arguments}); print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    imported = set(ended.stdout.splitlines()[-1].split())
    assert "dlperf.parameters" in imported
    assert not imported & {"tensorflow", "keras", "mlflow", "numpy", "pandas", "matplotlib", "rich"}


@pytest.mark.parametrize("name", [*entry_points.NAMES, "runs", "archive", "remote"])
def test_every_help_ends_with_an_example_that_is_accepted(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([name, "--help"]) == 0
    heading, example = (line.strip() for line in capsys.readouterr().out.splitlines()[-2:])
    assert heading == "Example:"
    program, entry_point, *arguments = shlex.split(example)
    assert (program, entry_point) == ("dlperf", name)
    raw = {option.removeprefix("--"): value for option, value in zip(arguments[::2], arguments[1::2], strict=True)}
    if name == "remote":
        read_arguments(raw)
    elif name in ("runs", "archive"):
        parse({"runs": RunsParameters, "archive": ArchiveParameters}[name], raw)
    else:
        parse(entry_points.load(name).parameters, raw)


@pytest.mark.parametrize("name", entry_points.NAMES)
def test_scripts_run_from_any_folder(name: str, tmp_path: Path) -> None:
    script = [sys.executable, "-I", str(ROOT / "entrypoints" / f"{name}.py")]
    helped = subprocess.run([*script, "--help"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert helped.stdout.startswith(f"Usage: python entrypoints/{name}.py [--PARAMETER VALUE]...")
    refused = subprocess.run([*script, "--zz", "1"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith(f"dlperf {name}: zz=1: unknown parameter")
    assert len(refused.stderr.splitlines()) == 1


def test_closed_output_is_no_traceback() -> None:
    """As in `dlperf --help | head -0`: the reading end is closed before anything is written."""
    process = subprocess.Popen(
        [sys.executable, "-c", "input(); from dlperf.cli import main; raise SystemExit(main(['--help']))"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    process.stdin.write("\n")
    process.stdin.close()
    assert process.stderr.read() == "dlperf: the output was closed\n"
    process.stderr.close()
    assert process.wait() == 141
