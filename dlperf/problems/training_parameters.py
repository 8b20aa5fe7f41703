"""Parameters that the training problems share, each declared once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from dlperf.declaration import parameter
from dlperf.environment import cores
from dlperf.problems.engine_parameters import EngineParameters

MAX_RANDOM_SEED = 2**32 - 1


class TrainingParameters(EngineParameters):
    """What every training problem takes."""

    protocol: Literal["notebook", "corrected"] = parameter(
        "notebook",
        help="set of defaults: notebook does what the original notebook did, flaws included; corrected does what the "
        "assignment and the papers ask for; any parameter given wins over it",
    )
    random_seed: int = parameter(0, ge=0, le=MAX_RANDOM_SEED, grid=True, help="everything random follows from it")
    threads: int = parameter(
        follows="the machine",
        ge=1,
        le=1024,
        help="threads that compute: its share of the cores unless given; results are equal to the bit only for the "
        "same number",
    )
    state_dir: str = parameter(
        "",
        operational=True,
        help="folder for the state of unfinished trials; else DLPERF_STATE_DIR, else the user's cache directory",
    )
    save_model: bool = parameter(False, operational=True, help="log the trained model as an MLflow model")
    dry_run: bool = parameter(False, operational=True, help="list the trials, estimate the hours, run nothing")

    @classmethod
    def following(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Share the machine's cores between the processes."""
        return {"threads": max(1, cores() // given["processes"])}


class ImageParameters(TrainingParameters):
    """What the image problems take besides."""

    dataset: Literal["cifar10", "digits"] = parameter(
        "cifar10", help="images: cifar10 is read from data_dir or downloaded, digits is embedded"
    )
    data_dir: str = parameter(
        "",
        operational=True,
        help="folder that holds cifar-10-batches-bin/, or that folder itself; else DLPERF_DATA_DIR, else the user's "
        "cache directory, else a download",
    )
    train_examples: int = parameter(0, ge=0, unit="images", help="images to train on; 0 takes all")
    batch_size: int = parameter(64, ge=1, le=8192, unit="images", help="distinct images per step")
