"""Parameters of the cutout problem, and the defaults of its two protocols."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from dlperf.accounting.resnet import blocks_per_stage
from dlperf.declaration import Value, parameter
from dlperf.errors import BadInput
from dlperf.models.reference import PREFIX
from dlperf.problems.model_parameters import ModelParameters
from dlperf.problems.shared_parameters import ImageParameters, OneDnnParameters

# Chunks of at most this many rows train ResNet-44 in about 1 GB, and larger ones are no faster on a CPU.
_MICRO_BATCH = 128
_DEPTH = 44
_OWN_SHARE = 0.5


class CutoutParameters(OneDnnParameters, ModelParameters, ImageParameters):
    """Parameters of the cutout problem."""

    course_only: ClassVar[Mapping[str, Value]] = {"depth": 0, "weight_decay": 0.0}

    m: int = parameter(
        4,
        ge=0,
        le=256,
        grid=True,
        help="copies of each image, each with its own cutout; 0 is the baseline without cutout",
    )
    depth: int = parameter(
        derived_from="model", help="layers of the course's ResNet, 6n + 2: 44 unless given; 0 with a model of your own"
    )
    copies_in: Literal["epoch", "batch"] = parameter(
        derived_from="protocol",
        help="epoch: m copies of the data set, m times the steps (the notebook); batch: the m copies of an image stand "
        "in one batch of m x batch_size, the steps stay (Hoffer et al.)",
    )
    micro_batch: int = parameter(
        derived_from="m, batch_size and copies_in",
        ge=1,
        le=65536,
        unit="images",
        help="larger batches are split into chunks of this size, at most, with accumulated gradients, so that memory "
        "does not grow with m; batch-normalisation statistics are those of a chunk",
    )
    cutout_length: int = parameter(
        derived_from="protocol", ge=1, le=64, unit="pixels", help="side of the masked square"
    )
    cutout_share: float = parameter(
        derived_from="model", absent=0.0, ge=0, le=1,
        help="side of the masked square as a share of the image's shorter side, in place of cutout_length where it is "
        "not 0: 0.5 with a model of your own, unless cutout_length is given",
    )  # fmt: skip
    crop: bool = parameter(
        True, absent=True, help="protocol=corrected: crop from an image padded by an eighth of its side"
    )
    flip: bool = parameter(True, absent=True, help="protocol=corrected: mirror half of the images left to right")
    epochs: int = parameter(
        derived_from="protocol and m", ge=1, le=100_000, unit="epochs", help="passes over the training set, at most"
    )
    learning_rate: float = parameter(derived_from="protocol", ge=1e-9, help="initial learning rate")
    weight_decay: float = parameter(
        derived_from="protocol and model", ge=0, help="added to the gradient: weight_decay x weight, for kernels only"
    )
    patience: int = parameter(
        derived_from="protocol",
        ge=0,
        unit="epochs",
        help="stop after so many epochs without a better validation accuracy; 0 never stops; in the corrected protocol "
        "only after the last learning-rate drop, and with the best weights restored",
    )
    optimized_evaluation: bool = parameter(
        False,
        absent=True,
        help="let TensorFlow's graph optimizer rewrite the evaluation, as version 0.1.0 did: a slower start, and "
        "losses that differ by rounding",
    )
    target_accuracy: float = parameter(
        0.94, gt=0, le=1, help="epochs and seconds to this validation accuracy are reported"
    )

    @classmethod
    def derived_defaults(cls, known: Mapping[str, Any]) -> dict[str, Any]:
        """Return the protocol's defaults."""
        notebook = known["protocol"] == "notebook"
        own = known["model"].startswith(PREFIX)
        copies_in = known.get("copies_in", "epoch" if notebook else "batch")
        rows = known["batch_size"] * (known["m"] or 1 if copies_in == "batch" else 1)
        return {
            **super().derived_defaults(known),
            "copies_in": copies_in,
            "micro_batch": min(rows, max(_MICRO_BATCH, known["batch_size"])),
            "cutout_length": 12 if notebook else 16,
            "epochs": 200 if notebook and known["m"] == 0 else 100,
            "learning_rate": 0.001 if notebook else 0.1,
            "weight_decay": 0.0002 if notebook else 0.0001,  # 0.0002 is what Keras's l2(1e-4) adds to the gradient
            "patience": 20 if notebook else 0,
            "depth": _DEPTH,
            "cutout_share": _OWN_SHARE if own and "cutout_length" not in known else 0.0,
            **(cls.course_only if own else {}),
        }

    def check(self) -> None:
        """Refuse a depth that is not 6n + 2, data that there are not, and a model that does not belong to them.

        Raises:
            BadInput: Naming the nearest depths, or what is allowed.
        """
        super().check()
        for name in ("crop", "flip"):
            if self.notebook and not getattr(self, name):
                raise BadInput(name, "false", "needs protocol=corrected: the notebook shifts and flips every image")
        if self.own_model:
            return
        try:
            blocks_per_stage(self.depth)
        except ValueError as error:
            raise BadInput("depth", self.depth, str(error)) from error

    def without_effect(self) -> frozenset[str]:
        """Name the parameters of masks and copies, of which the baseline (m=0) has none."""
        return frozenset() if self.m else frozenset({"copies_in", "cutout_length", "cutout_share"})

    def mask_length(self, height: int, width: int) -> int:
        """Return the side of the masked square in pixels, of images of this size."""
        return max(1, round(self.cutout_share * min(height, width))) if self.cutout_share else self.cutout_length

    @property
    def copies(self) -> int:
        """Copies per image: one, unmasked, for m=0."""
        return self.m or 1

    def learning_rate_at(self, epoch: int) -> float:
        """Return the learning rate of an epoch (from 1).

        The notebook's m=0 drops it after its 0-based epochs 80, 120, 160 and 180, so the first epoch with a lower rate
        is the 82nd; its runs with cutout keep the rate. Corrected: to a tenth after 81, 122 and 164 of 200 epochs, in
        proportion when `epochs` differs.
        """
        if not self.notebook:
            drops = sum(epoch > math.ceil(self.epochs * drop / 200) for drop in (81, 122, 164))
            return self.learning_rate * (1.0, 0.1, 0.01, 0.001)[drops]
        if self.m:
            return self.learning_rate
        passed = sum(epoch - 1 > drop for drop in (80, 120, 160, 180))
        return self.learning_rate * (1.0, 1e-1, 1e-2, 1e-3, 0.5e-3)[passed]
