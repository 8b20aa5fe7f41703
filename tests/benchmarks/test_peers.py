"""Peers: ours and `fit` in turns at toy size; all ways where the peers' environment has been built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import peers
from tests.benchmarks.conftest import Start

TOY = ["--threads", "1", "--repeats", "1", "--depth", "8", "--images", "128", "--rows", "256", "--points", "2000"]


@pytest.mark.slow
def test_ours_and_fit_take_turns() -> None:
    work: dict[str, Any] = {"name": "mlp", "threads": 1, "examples": 256, "optimizer": "adagrad", "dropout": True}
    ours, fit = peers.compared((("ours", ""), ("fit", "onednn")), work, repeats=2, unit=10_000, floor=1.0)
    assert (ours["way"], fit["way"]) == ("ours", "fit onednn")
    assert (ours["times_ours"], ours["times_ours_cpu"]) == (1.0, 1.0)
    for row in (ours, fit):
        assert 0 < row["p25"] <= row["wall_ms"] <= row["p75"]
        assert row["times_floor_cpu"] == pytest.approx(row["cpu_ms"] / 1000)
        assert row["first_seconds"] > 0
    assert "dlperf" in ours["version"]
    assert fit["version"].startswith("keras")


def test_a_way_that_fails_is_told_in_one_line() -> None:
    with pytest.raises(peers.MeasurementFailed, match=r"peer_ways\.ours .* ended with exit status 1: KeyError"):
        peers.Way("ours", "", {"name": "none", "threads": 1, "examples": 1})


def test_without_the_peers_it_says_how_to_build_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(peers, "PEERS", tmp_path / "python")
    monkeypatch.setattr("sys.argv", ["peers"])
    assert peers.main() == 3
    assert capsys.readouterr().err == f"{tmp_path}/python is not there: `make peers` builds it\n"


@pytest.mark.slow
@pytest.mark.skipif(not peers.PEERS.exists(), reason="needs PyTorch and JAX in .venv-peers: make peers builds it")
def test_all_ways(start: Start) -> None:
    written = start("peers", *TOY, "--networks", "1").written()
    ways = {part: [row["way"] for row in rows] for part, rows in written["figures"].items() if part != "floor"}
    assert len(ways) == 6  # ResNet, four MLPs, a network of eggholder
    assert all(names[0] == "ours" and "jax_scan" in names for names in ways.values())
