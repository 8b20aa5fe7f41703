"""Parameters that several problems share, declared once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from dlperf import data
from dlperf.declaration import parameter
from dlperf.errors import BadInput
from dlperf.parameters import MAX_RANDOM_SEED, Parameters
from dlperf.problem import TrackedParameters
from dlperf.process_settings import onednn
from dlperf.processor import cores

VALIDATION_SHARE = 0.1
"""Of the training set, where the data have nothing to validate on."""

COURSE_DATA = ("cifar10", "cifar100", "digits")


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
    measure: bool = parameter(
        True,
        operational=True,
        help="dry_run times a few steps of the trials, for a minute at most; false judges by a matrix product instead",
    )


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


class UserDataParameters(Parameters):
    """Parameters of the problems that read labelled examples, the user's own among them."""

    image_size: int = parameter(
        0,
        ge=0,
        le=4096,
        absent=0,
        unit="pixels",
        help="side of the square that the images of images:FOLDER and parquet:FILE are brought to; 0 leaves them as "
        "they are, which then have to be of one size",
    )
    skip_broken: bool = parameter(
        False, operational=True, help="leave out what cannot be read as an image, instead of refusing all"
    )
    split_seed: int = parameter(
        0,
        ge=0,
        le=MAX_RANDOM_SEED,
        absent=0,
        help="which fifth of the user's own data is tested on follows from it, where they do not say that themselves",
    )

    @property
    def reading(self) -> data.Reading:
        """How data of the user's own are read."""
        return data.Reading(self.image_size, self.skip_broken, self.split_seed)

    def refuse_idle(self, dataset: str) -> None:
        """Refuse what says nothing of a data set.

        Raises:
            BadInput: Naming the parameter.
        """
        if data.kind(dataset) not in ("images", "parquet"):
            for name, value in (("image_size", self.image_size), ("split_seed", self.split_seed)):
                if value:
                    allowed = f"goes with images:FOLDER and parquet:FILE, not with dataset={dataset}"
                    raise BadInput(name, value, allowed)


class ImageParameters(UserDataParameters, TrainingParameters):
    """Parameters of the problems that train classifiers."""

    dataset: str = parameter(
        "cifar10",
        names_file=data.path_in,
        help="what is trained on: cifar10 and cifar100 are read from data_dir or downloaded, digits is embedded; data "
        "of your own are npz:FILE, images:FOLDER or parquet:FILE",
    )
    data_dir: str = parameter(
        "",
        operational=True,
        help="folder in or up to three levels below which CIFAR lies, in any of its published forms; else "
        "DLPERF_DATA_DIR, else the user's cache directory, else a download",
    )
    train_examples: int = parameter(0, ge=0, unit="images", help="images to train on; 0 takes all")
    batch_size: int = parameter(64, ge=1, le=8192, unit="images", help="distinct images per step")

    def check(self) -> None:
        """Refuse a data set that there is not, and the course's flaws on data of the user's own.

        Raises:
            BadInput: Naming what is allowed.
        """
        data.check_kind(self.dataset, COURSE_DATA)
        self.refuse_idle(self.dataset)
        refuse_notebook(self.dataset, self.protocol)

    @property
    def facts(self) -> data.Facts:
        """Number, shape and classes of the examples; data of the user's own are read for it."""
        return data.facts(self.dataset, self.data_dir, self.reading)

    @property
    def validation_size(self) -> int:
        """Examples to validate on: those that are there for it, else a tenth of the training set, split off.

        There are none in the notebook's protocol.
        """
        facts = self.facts
        return 0 if self.notebook else facts.validation or int(facts.train * VALIDATION_SHARE)

    @property
    def available(self) -> int:
        """Examples that can be trained on: all that are not validated on."""
        facts = self.facts
        return facts.train if facts.validation else facts.train - self.validation_size

    @property
    def train_size(self) -> int:
        """Examples to train on."""
        return self.train_examples or self.available


class OneDnnParameters(Parameters):
    """The parameter of problems that compute with TensorFlow's kernels; what XLA compiles computes alike."""

    onednn: Literal["on", "off", "auto"] = parameter(
        derived_from="the machine",
        absent="auto",
        help="TensorFlow's oneDNN operations, without which convolutions can take twice the time: on unless "
        "TF_ENABLE_ONEDNN_OPTS says otherwise; auto leaves it to that variable, else to TensorFlow: the default of "
        "machines without them",
    )

    @classmethod
    def derived_defaults(cls, known: Mapping[str, Any]) -> dict[str, Any]:
        """Return the user's setting, or what is faster."""
        return {**super().derived_defaults(known), "onednn": onednn.default()}


def refuse_notebook(dataset: str, protocol: str) -> None:
    """Refuse the notebook's protocol on data of the user's own.

    Raises:
        BadInput: Saying which protocol takes them.
    """
    if protocol == "notebook" and data.kind(dataset):
        raise BadInput(
            "protocol",
            protocol,
            f"repeats the notebook on its own data: give protocol=corrected with dataset={dataset}",
        )


def verify_examples(trials: Sequence[ImageParameters]) -> None:
    """Verify the data before a run exists.

    Raises:
        BadInput: If the data, or train_examples or batch_size with them, cannot be used.
        EnvironmentMissing: If there is no data and it cannot be downloaded.
    """
    for parameters in {(p.dataset, p.data_dir, p.reading, p.train_examples, p.protocol): p for p in trials}.values():
        if parameters.train_examples > parameters.available:
            allowed = (
                f"at most {parameters.available} with dataset={parameters.dataset} and "
                f"protocol={parameters.protocol}; 0 takes all"
            )
            raise BadInput("train_examples", parameters.train_examples, allowed)
        data.check(parameters.dataset, parameters.data_dir, parameters.train_examples, parameters.reading)
        refuse_less_than_a_batch(parameters.dataset, parameters.train_size, "batch_size", parameters.batch_size)


def refuse_less_than_a_batch(dataset: str, examples: int, name: str, batch_size: int) -> None:
    """Refuse data of the user's own that do not fill a batch.

    Args:
        dataset: The data.
        examples: Those to train on.
        name: The parameter that says the size of a batch.
        batch_size: Its value.

    Raises:
        BadInput: Saying how many there are.
    """
    if data.kind(dataset) and examples < batch_size:
        raise BadInput(name, batch_size, f"must be at most {examples}, the examples of {dataset} to train on")


def refuse_other_than_images(dataset: str, reading: data.Reading) -> None:
    """Refuse data of the user's own that are no images.

    Raises:
        BadInput: Saying what they are.
    """
    if data.kind(dataset):
        loaded = data.load(dataset, reading=reading)
        if not loaded.holds_images:
            is_a = f"{loaded.train_inputs.dtype} {loaded.input_shape}"
            raise BadInput("dataset", dataset, f"an example is {is_a}, must be pixels, uint8 (height, width, channels)")
