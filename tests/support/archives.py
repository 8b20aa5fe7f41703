"""Archived trials, made by hand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dlperf.archive import parts
from dlperf.archive.parts import ArchivedTrial


def archived(run_id: str = "a1", **changes: Any) -> ArchivedTrial:
    """A finished trial of problem 4."""
    tags = {"dlperf.problem": "cutout", "dlperf.role": "trial", "dlperf.version": "0.2.0"}
    facts = {"tags": tags, "metrics": {"test_error": 0.1, "train_loss": 2.0}, "curves": {"train_loss": {1: 2.0}}}
    times = {"started": 1, "ended": 2}
    common = {"name": "cutout m=0", "problem": "cutout", "sweep": "5" * 32, "params": {"m": "0"}}
    return ArchivedTrial(run_id=run_id, **{**common, **times, **facts, **changes})


def write_foreign(folder: Path, contents: Mapping[str, Sequence[ArchivedTrial]]) -> Path:
    """Write an archive that dlperf refuses to write: its checksums are right, somebody's program may have made it.

    Args:
        folder: Where to.
        contents: Trials by the name of the part.
    """
    folder.mkdir(exist_ok=True)
    listed = []
    for name, trials in contents.items():
        parts.write(folder / name, trials)
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        facts = {"problem": trials[0].problem, "sweep": trials[0].sweep, "trials": len(trials)}
        listed.append({"file": name, "sha256": digest, **facts})
    (folder / "index.json").write_text(json.dumps({"format": 1, "parts": listed}))
    return folder
