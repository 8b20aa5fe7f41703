"""`compare` with the archive that comes with dlperf among the archives: what is here, and what is the reference's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from dlperf.cli import main
from dlperf.tracking.reference import reference_trials
from tests.support.empty_store import make_store
from tests.support.made_trials import log, made

Compared = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]


@pytest.fixture
def compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Compared:
    """Compares what archives, and a store with made trials or none, have of problem 4: its claims and its settings."""
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    monkeypatch.chdir(tmp_path)
    uris = {name: make_store(tmp_path / f"{name}.db") for name in ("empty", "mine")}
    for number in range(12):
        log(mlflow.MlflowClient(uris["mine"]), made("cutout", number, length=3))
    assert main(["archive", "--output", "theirs", "--tracking_uri", uris["mine"]]) == 0

    def compare(archives: str, store: str = "empty") -> tuple[pd.DataFrame, pd.DataFrame]:
        output = tmp_path / f"{store} {archives}"
        asked = ["--problem", "cutout", "--output", str(output), "--tracking_uri", uris[store]]
        assert main(["compare", *asked, *(["--archive", archives] if archives else [])]) == 0, capfd.readouterr().err
        tables = output / "cutout" / "tables"
        return pd.read_csv(tables / "claims.csv").set_index("id"), pd.read_csv(tables / "settings.csv")

    return compare


def test_here_are_the_other_trials_and_the_reference_stands_beside(compared: Compared) -> None:
    alone, _ = compared("theirs")
    both, settings = compared("reference,theirs")
    pd.testing.assert_frame_equal(both, alone)  # the same trials are here, and the same reference stands beside
    reference, _ = compared("reference")
    pd.testing.assert_series_equal(both["reference"], reference["here"], check_names=False)
    assert both["reference"].notna().any()
    assert both["here"].notna().any()
    # The trials of both are laid out, each once, in settings of their own.
    assert dict(settings.groupby("archive")["trials"].sum()) == {
        "reference": len(reference_trials("cutout")),
        "theirs": 12,
    }
    assert compared("theirs,reference,reference")[0].equals(both)


def test_beside_a_store_the_reference_is_not_here_either(compared: Compared) -> None:
    alone, _ = compared("", "mine")
    both, settings = compared("reference", "mine")
    pd.testing.assert_frame_equal(both, alone)
    assert dict(settings.fillna("").groupby("archive")["trials"].sum()) == {
        "": 12,
        "reference": len(reference_trials("cutout")),
    }


def test_alone_the_reference_is_what_is_here(compared: Compared) -> None:
    claims, settings = compared("reference")
    assert "reference" not in claims
    assert claims["here"].notna().any()
    assert settings["trials"].sum() == len(reference_trials("cutout"))


def test_of_a_problem_that_the_others_lack_nothing_is_here(compared: Compared, tmp_path: Path) -> None:
    client = mlflow.MlflowClient(make_store(tmp_path / "other.db"))
    log(client, made("architectures", 0))
    assert main(["archive", "--output", "other", "--tracking_uri", f"sqlite:///{tmp_path}/other.db"]) == 0
    claims, settings = compared("reference,other")
    assert set(claims["verdict"]) <= {"not measured", "supported", "contradicted"}
    assert (claims.loc[claims["by"] == "experiment", "verdict"] == "not measured").all()
    assert claims["reference"].notna().any()
    assert settings["trials"].sum() == len(reference_trials("cutout"))
