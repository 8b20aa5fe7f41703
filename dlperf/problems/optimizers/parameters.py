"""Parameters of the optimizers problem, and the defaults of its two protocols."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from dlperf.declaration import Value, parameter
from dlperf.environment import gpu_count
from dlperf.models.reference import PREFIX
from dlperf.problems.model_parameters import ModelParameters
from dlperf.problems.shared_parameters import ImageParameters, OneDnnParameters

UNITS = (1000, 1000)
DROPOUT = (0.2, 0.5)
_SUBSET = 5000
_NOTEBOOK_OPTIMIZERS = ("adagrad", "rmsprop", "nadam", "adadelta", "adam")
_KERAS_LEARNING_RATE = 0.001
_GRID_SIZE = 5
_LEARNING_RATES = {  # the corrected protocol's grid
    "adagrad": (0.001, 0.003, 0.01, 0.03, 0.1),
    "rmsprop": (0.00003, 0.0001, 0.0003, 0.001, 0.003),
    "rmsprop_nesterov": (0.00001, 0.00003, 0.0001, 0.0003, 0.001),
    "nadam": (0.00003, 0.0001, 0.0003, 0.001, 0.003),
    "adadelta": (0.03, 0.1, 0.3, 1.0, 3.0),
    "adam": (0.00003, 0.0001, 0.0003, 0.001, 0.003),
}


class OptimizersParameters(OneDnnParameters, ModelParameters, ImageParameters):
    """Parameters of the optimizers problem."""

    course_only: ClassVar[Mapping[str, Value]] = {
        **{"dropout": False, "dropout_after": "each", "l2": 0.0, "xla": "updates"},
    }

    dropout: bool = parameter(
        derived_from="model", grid=True,
        help="drop 0.2 of the inputs and 0.5 of hidden units: without and with it unless given; a model of your own "
        "has layers of its own for that",
    )  # fmt: skip
    optimizer: Literal["adagrad", "rmsprop", "rmsprop_nesterov", "nadam", "adadelta", "adam"] = parameter(
        derived_from="protocol",
        grid=True,
        help="update rule: the notebook's five (adagrad, rmsprop, nadam, adadelta, adam), all six with "
        "protocol=corrected; with protocol=notebook rmsprop_nesterov is Nadam, as the notebook had it",
    )
    update_rules: Literal["notebook", "keras3"] = parameter(
        derived_from="protocol",
        absent="keras3",
        help="generation of the update rules: notebook, those of TensorFlow 2.3, in which AdaGrad and RMSProp add "
        "epsilon outside the root and Nadam's momentum rises slowly; keras3, Keras's of today",
    )
    dropout_after: Literal["each", "last"] = parameter(
        derived_from="model",
        absent="each",
        help="hidden layers whose units dropout drops: each, as the assignment orders and the notebook ran, or the "
        "last, as its printed code says",
    )
    learning_rate: float = parameter(
        derived_from="protocol and optimizer",
        grid=True,
        gt=0,
        help="learning rate: Keras's default, or a grid with protocol=corrected, which tries each of several for "
        "search_epochs, chooses by the validation cross-entropy and trains and tests with the best one only",
    )
    xla: Literal["all", "updates"] = parameter(
        derived_from="the machine",
        absent="all",
        help="what XLA compiles: all of an epoch, or the updates, while TensorFlow's kernels compute the matrix "
        "products, which is faster on a CPU",
    )
    batch_size: int = parameter(128, ge=1, le=8192, unit="images", help="images per step")
    epochs: int = parameter(200, ge=1, le=100_000, unit="epochs", help="passes over the training set")
    l2: float = parameter(
        derived_from="protocol and model",
        ge=0,
        help="weight of the squares of the hidden layers' kernels and biases in the loss",
    )
    search: Literal["grid", "halving"] = parameter(
        "grid",
        selects=True,
        help="how a learning rate is chosen: grid tries each for search_epochs; halving tries all briefly, then the "
        "better half for twice as long, and so on, within search_budget",
    )
    search_budget: int = parameter(
        derived_from="search_epochs", ge=1, le=1_000_000, selects=True, unit="epochs",
        help="epochs that search=halving spends on the learning rates of one optimizer; five times search_epochs, "
        "which is what the grid of the protocol costs, unless given",
    )  # fmt: skip
    search_epochs: int = parameter(
        derived_from="epochs", ge=1, le=100_000, selects=True, unit="epochs",
        help="passes over the training set for each learning rate that is tried; a tenth of epochs unless given",
    )  # fmt: skip
    search_examples: int = parameter(
        0, ge=0, selects=True, unit="images", help="images to try learning rates on; 0 takes train_examples"
    )
    stage: Literal["final", "search"] = parameter(
        "final", help="search trains for the choice of a learning rate and never reads the test set"
    )
    rung: int = parameter(0, ge=0, absent=0, help="round of search=halving that tries a learning rate, from 0")
    target_cross_entropy: float = parameter(
        1.5, gt=0, help="epochs and seconds to this cross-entropy on the training subset (in inference) are reported"
    )

    @classmethod
    def derived_defaults(cls, known: Mapping[str, Any]) -> dict[str, Any]:
        """Return the protocol's defaults."""
        notebook = known["protocol"] == "notebook"
        optimizer = known.get("optimizer", _NOTEBOOK_OPTIMIZERS[0])
        search_epochs = known.get("search_epochs", max(1, known["epochs"] // 10))
        return {
            **super().derived_defaults(known),
            "optimizer": optimizer,
            "xla": "all" if gpu_count() else "updates",
            "update_rules": "notebook" if notebook else "keras3",
            "dropout_after": "each",
            "learning_rate": cls.default_grid({**known, "optimizer": optimizer})["learning_rate"][0],
            "l2": 0.01 if notebook else 0.0001,
            "search_epochs": search_epochs,
            "search_budget": _GRID_SIZE * search_epochs,
            "dropout": False,
            **(cls.course_only if known["model"].startswith(PREFIX) else {}),
        }

    @classmethod
    def default_grid(cls, known: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
        """Return the protocol's optimizers, and for a known optimizer its learning rates."""
        notebook = known["protocol"] == "notebook"
        grid: dict[str, tuple[Any, ...]] = {
            "dropout": (False,) if known["model"].startswith(PREFIX) else (False, True),
            "optimizer": _NOTEBOOK_OPTIMIZERS if notebook else tuple(_LEARNING_RATES),
        }
        if "optimizer" in known:
            grid["learning_rate"] = (_KERAS_LEARNING_RATE,) if notebook else _LEARNING_RATES[known["optimizer"]]
        return grid

    def without_effect(self) -> frozenset[str]:
        """Name what says which units dropout drops, without dropout."""
        return frozenset() if self.dropout else frozenset({"dropout_after"})

    @property
    def update_rule(self) -> str:
        """The rule that trains the network: what the notebook calls RMSProp with Nesterov momentum is Nadam."""
        return "nadam" if self.notebook and self.optimizer == "rmsprop_nesterov" else self.optimizer

    @property
    def drops(self) -> bool | str:
        """Whether the network drops units; of a user's own model, "as built", as its file decides that."""
        return "as built" if self.own_model else self.dropout

    @property
    def subset_size(self) -> int:
        """Number of training images evaluated in inference mode after every epoch."""
        return min(_SUBSET, self.train_size)

    def searching(self, *, rung: int = 0, epochs: int = 0) -> OptimizersParameters:
        """Return the trial that tries this one's learning rate, for `search_epochs` unless said otherwise."""
        examples = self.search_examples or self.train_examples
        tried = {"stage": "search", "rung": rung, "epochs": epochs or self.search_epochs, "train_examples": examples}
        return self.model_copy(update=tried)
