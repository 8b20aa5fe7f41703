"""Parameters that several problems share, declared once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from dlperf import data, onednn
from dlperf.declaration import parameter
from dlperf.errors import BadInput
from dlperf.parameters import MAX_RANDOM_SEED, Parameters
from dlperf.problem import TrackedParameters
from dlperf.processor import cores

_VALIDATION_SHARE = 0.1


class EngineParameters(Parameters):
    """Parameters of every problem whose trials can run side by side."""

    processes: int = parameter(
        1, ge=1, le=1024, operational=True, help="trials that run side by side, each in a process of its own"
    )
    engine: Literal["local", "ray"] = parameter(
        "local",
        operational=True,
        help="what runs the trials: local, processes of this machine; ray, the Ray cluster that RAY_ADDRESS names, as "
        "many at a time as it has room for",
    )
    cpus_per_trial: float = parameter(1.0, gt=0, operational=True, help="CPUs that Ray reserves for a trial")
    gpus_per_trial: float = parameter(0.0, ge=0, operational=True, help="GPUs that Ray reserves for a trial")


class RunParameters(TrackedParameters):
    """Parameters of every problem that trains."""

    random_seed: int = parameter(0, ge=0, le=MAX_RANDOM_SEED, grid=True, help="everything random follows from it")
    state_dir: str = parameter(
        "",
        operational=True,
        help="folder for the state of unfinished trials; else DLPERF_STATE_DIR, else the user's cache directory",
    )
    dry_run: bool = parameter(False, operational=True, help="list the trials, estimate the hours, run nothing")


class TrainingParameters(EngineParameters, RunParameters):
    """Parameters of the problems that train for a result, by one of two protocols."""

    protocol: Literal["notebook", "corrected"] = parameter(
        "notebook",
        help="set of defaults: notebook does what the original notebook did, flaws included; corrected does what the "
        "assignment and the papers ask for; any parameter given wins over it",
    )
    threads: int = parameter(
        derived_from="the machine",
        ge=1,
        le=1024,
        help="threads that compute: its share of the cores unless given; results are equal to the bit only for the "
        "same number",
    )
    save_model: bool = parameter(False, operational=True, help="log the trained model as an MLflow model")

    @classmethod
    def derived_defaults(cls, known: Mapping[str, Any]) -> dict[str, Any]:
        """Share the machine's cores between the processes."""
        return {"threads": max(1, cores() // known["processes"])}

    @property
    def notebook(self) -> bool:
        """Whether the protocol is the notebook's."""
        return self.protocol == "notebook"


class ImageParameters(TrainingParameters):
    """Parameters of the image problems."""

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

    @property
    def validation_size(self) -> int:
        """Images split off the training set to validate on: a tenth, none in the notebook's protocol."""
        return 0 if self.notebook else int(data.train_size(self.dataset) * _VALIDATION_SHARE)

    @property
    def train_size(self) -> int:
        """Images to train on."""
        return self.train_examples or data.train_size(self.dataset) - self.validation_size


class OneDnnParameters(Parameters):
    """The parameter of problems that compute with TensorFlow's kernels; what XLA compiles computes alike."""

    onednn: Literal["on", "off", "auto"] = parameter(
        derived_from="the machine",
        absent="auto",
        help="TensorFlow's oneDNN operations, without which convolutions can take twice the time: on unless "
        "TF_ENABLE_ONEDNN_OPTS says otherwise; auto is TensorFlow's choice, and that of machines without them",
    )

    @classmethod
    def derived_defaults(cls, known: Mapping[str, Any]) -> dict[str, Any]:
        """Return the user's setting, or what is faster."""
        return {**super().derived_defaults(known), "onednn": onednn.default()}


def verify_images(trials: Sequence[ImageParameters]) -> None:
    """Verify the data before a run exists.

    Raises:
        BadInput: If data_dir, a file in it or train_examples cannot be used.
        EnvironmentMissing: If there is no data and it cannot be downloaded.
    """
    for parameters in {(p.dataset, p.data_dir, p.train_examples, p.protocol): p for p in trials}.values():
        available = data.train_size(parameters.dataset) - parameters.validation_size
        if parameters.train_examples > available:
            allowed = (
                f"at most {available} with dataset={parameters.dataset} and protocol={parameters.protocol}; 0 takes all"
            )
            raise BadInput("train_examples", parameters.train_examples, allowed)
        data.check(parameters.dataset, parameters.data_dir, parameters.train_examples)
