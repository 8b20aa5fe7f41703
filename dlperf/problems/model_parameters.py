"""Parameters of problems that train a model of the user's own, and what is verified of it before a run exists."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from dlperf.declaration import Value, parameter
from dlperf.errors import BadInput
from dlperf.models import reference
from dlperf.models.reference import PREFIX, ModelReference, OwnModel
from dlperf.parameters import Parameters, defining, describe
from dlperf.process_settings import onednn
from dlperf.processor import cores

if TYPE_CHECKING:
    from dlperf.data.dataset import Dataset

P = TypeVar("P", bound="ModelParameters")


class ModelParameters(Parameters):
    """Parameters of the problems that train the course's network, or the user's own.

    Attributes:
        networks: The names of the problem's own networks.
        course_only: What the parameters that describe the course's network hold beside the user's own.
    """

    networks: ClassVar[tuple[str, ...]] = ("course",)
    course_only: ClassVar[Mapping[str, Value]] = {}

    model: str = parameter(
        "course",
        absent="course",
        names_file=reference.path_in,
        help="network: the course's, keras:FILE, a .keras or .h5 file of your own, or keras:NAME of keras.applications",
    )
    weights: Literal["fresh", "file"] = parameter(
        "fresh",
        absent="fresh",
        help="what a model of your own starts from: fresh weights, which follow from random_seed, or those of its file",
    )
    custom: str = parameter(
        "",
        absent="",
        names_file=reference.module_path,
        help="module, or path of a .py file, that is imported to register the classes of a model's file",
    )

    def check(self) -> None:
        """Refuse a text that names no model, and what has no meaning beside the one that it names.

        Raises:
            BadInput: Naming what is allowed.
        """
        super().check()
        own = self.own_model
        if self.model not in self.networks and not (own and own.name):
            allowed = (
                f"must be {', '.join(self.networks)}, keras:FILE of a saved model or keras:NAME of keras.applications"
            )
            raise BadInput("model", self.model, allowed)
        if self.weights == "file" and not (own and own.file):
            raise BadInput("weights", self.weights, "needs model=keras:FILE, a file to take them from")
        if self.custom and not (own and own.file):
            raise BadInput("custom", self.custom, "needs model=keras:FILE, a file whose classes it registers")
        if own is None:
            return
        if getattr(self, "protocol", "") == "notebook":
            raise own.refuse("needs protocol=corrected: the notebook trained its own network alone")
        for name, beside in self.course_only.items():
            if (value := getattr(self, name)) != beside:
                described = next(d for d in describe(type(self)) if d.name == name).write(value)
                raise BadInput(name, described, f"describes the network of model={self.networks[0]}, not {self.model}")

    @property
    def own_model(self) -> ModelReference | None:
        """The user's own model, or one of keras.applications; None for the problem's networks."""
        return ModelReference("model", self.model) if self.model.startswith(PREFIX) else None


def model_digest(parameters: ModelParameters) -> str:
    """Return the hash of a user's own model and of its classes; "" for the problem's networks.

    Raises:
        BadInput: If its file cannot be read.
    """
    own = parameters.own_model
    if own is None:
        return ""
    digest = reference.digest(own, with_weights=parameters.weights == "file")
    custom = reference.module_file(parameters.custom)
    if custom:
        digest = hashlib.sha256(digest.encode() + custom.read_bytes()).hexdigest()[:16]
    return digest


def own_model(parameters: Any, dataset: Dataset) -> OwnModel:
    """Return the user's own model with the data that it is to fit."""
    return OwnModel(
        parameters.own_model,
        parameters.custom,
        parameters.weights == "file",
        dataset.input_shape,
        len(dataset.label_names),
        f"dataset={dataset.name}",
    )


def verify_models(trials: Sequence[P], wanted: Callable[[P], OwnModel]) -> None:
    """Verify that the users' models can be trained on the data, before a run exists.

    Args:
        trials: Trials whose data are verified.
        wanted: Makes a trial's model with its data.

    Raises:
        BadInput: If a model cannot be read, does not fit the data, or could not be repeated to the bit.
    """
    named = {(t.model, t.weights, t.custom): t for t in trials if t.own_model}
    for trial in named.values():
        if trial.own_model and trial.own_model.file:
            reference.kind(trial.own_model)  # before TensorFlow is waited for
    for trial in named.values():
        own = wanted(trial)
        if onednn.can_choose(chosen := getattr(trial, "onednn", None)):
            onednn.choose(chosen)
        from dlperf.models.own_model import check
        from dlperf.training.compiled_epoch import configure_runtime

        configure_runtime(getattr(trial, "threads", cores()))
        for note in check(own):
            print(f"dlperf: model={defining(trial)['model']}: {note}", file=sys.stderr)
