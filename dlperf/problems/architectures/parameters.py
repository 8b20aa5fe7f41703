"""Parameters of the architectures problem: what is counted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from dlperf.accounting.inception import PRESETS, Module
from dlperf.accounting.receptive_field import receptive_field
from dlperf.declaration import parameter
from dlperf.errors import BadInput
from dlperf.models.reference import PREFIX, ModelReference, names_a_file
from dlperf.problem import TrackedParameters
from dlperf.problems.shared_parameters import EngineParameters

TOTALS = ("num_params", "activations", "multiplications")
"""What is counted of every network."""

SUBJECTS = ("alexnet", "vgg19", "stacked_filters", "inception")
_DEFAULT_MODELS = ("ResNet50", "MobileNetV2")
_ALLOWED = f"must be one of {', '.join(SUBJECTS)}, keras:NAME of keras.applications, or keras:PATH of a model's file"
_SHAPE = re.compile(r"[1-9]\d{0,5}(x[1-9]\d{0,5})*")


class ArchitecturesParameters(EngineParameters, TrackedParameters):
    """Parameters of the architectures problem."""

    subject: str = parameter(
        (*SUBJECTS, *(PREFIX + name for name in _DEFAULT_MODELS)),
        grid=True,
        is_one_value=names_a_file,
        help=f"what is counted: {', '.join(SUBJECTS)}, keras:NAME of keras.applications, or keras:PATH of a .keras "
        "or .h5 file",
    )
    input_shape: str = parameter(
        "",
        help="input of a Keras model, as 224x224x3, or by name, as encoder:20;decoder:10; needed where the model "
        "leaves sides of it open",
    )
    custom: str = parameter(
        "", help="module, or path of a .py file, that is imported to register the classes of a Keras model's file"
    )
    unsafe: bool = parameter(
        False,
        operational=True,
        help="load a file's Lambda layers: they are Python code in the file, which is run with your rights",
    )
    stack_layers: int = parameter(3, ge=1, le=64, help="N of stacked_filters: filters one behind the other")
    stack_filter: int = parameter(5, ge=1, le=63, unit="pixels", help="F of stacked_filters: side of each filter")
    stack_size: int = parameter(32, ge=1, le=1024, unit="pixels", help="side of the input of stacked_filters")
    stack_channels: int = parameter(64, ge=1, le=1024, help="C of stacked_filters: channels in and out")
    preset: Literal["assignment", "3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"] = parameter(
        "assignment", help="numbers of the Inception module: the assignment's, or those of one of GoogLeNet's modules"
    )
    module_size: int = parameter(derived_from="preset", ge=1, le=1024, unit="pixels", help="side of the module's input")
    module_channels: int = parameter(derived_from="preset", ge=1, le=8192, help="channels of the module's input")
    conv_1x1: int = parameter(derived_from="preset", ge=1, le=8192, help="filters of the 1 x 1 branch")
    reduce_3x3: int = parameter(derived_from="preset", ge=1, le=8192, help="1 x 1 filters before the 3 x 3 branch")
    conv_3x3: int = parameter(derived_from="preset", ge=1, le=8192, help="filters of the 3 x 3 branch")
    reduce_5x5: int = parameter(derived_from="preset", ge=1, le=8192, help="1 x 1 filters before the 5 x 5 branch")
    conv_5x5: int = parameter(derived_from="preset", ge=1, le=8192, help="filters of the 5 x 5 branch")
    pool_projection: int = parameter(
        derived_from="preset", ge=1, le=8192, help="1 x 1 filters after the pooling branch"
    )
    dry_run: bool = parameter(False, operational=True, help="list the subjects, count nothing")

    @classmethod
    def derived_defaults(cls, known: Mapping[str, Any]) -> dict[str, Any]:
        """Return the preset's numbers."""
        module = PRESETS[known["preset"]]
        numbers = {name: getattr(module, name) for name in Module.__annotations__}
        return {**numbers, "module_size": numbers.pop("size"), "module_channels": numbers.pop("channels")}

    def check(self) -> None:
        """Refuse unknown subjects, and a stack of filters that sees more than its input.

        Raises:
            BadInput: Naming what is allowed.
        """
        if self.subject not in SUBJECTS and not (self.keras_model and self.keras_model.name):
            raise BadInput("subject", self.subject, _ALLOWED)
        for name in ("input_shape", "custom"):
            if getattr(self, name) and not self.keras_model:
                raise BadInput(name, getattr(self, name), f"goes with keras: subjects, not with {self.subject}")
        self.input_shapes  # noqa: B018 - refuses what is no shape
        seen = receptive_field(self.stack_layers, self.stack_filter)
        if self.stack_size < seen:
            allowed = f"must be at least {seen}, which {self.stack_layers} filters of {self.stack_filter} pixels see"
            raise BadInput("stack_size", self.stack_size, allowed)

    @property
    def keras_model(self) -> ModelReference | None:
        """The Keras model; None for one of SUBJECTS."""
        return ModelReference("subject", self.subject) if self.subject.startswith(PREFIX) else None

    @property
    def input_shapes(self) -> dict[str, tuple[int, ...]]:
        """`input_shape` as sides by the input's name, "" for the one without a name.

        Raises:
            BadInput: It is written otherwise.
        """
        shapes = {}
        for part in self.input_shape.split(";") if self.input_shape else []:
            name, _, sides = part.strip().rpartition(":")
            if not _SHAPE.fullmatch(sides) or name in shapes or (";" in self.input_shape and not name):
                allowed = "must be sides joined by x, as 224x224x3, or those of each input, as encoder:20;decoder:10"
                raise BadInput("input_shape", self.input_shape, allowed)
            shapes[name] = tuple(int(side) for side in sides.split("x"))
        return shapes

    @property
    def module(self) -> Module:
        """The Inception module."""
        shared = {name: getattr(self, name) for name in Module.__annotations__ if name not in ("size", "channels")}
        return Module(self.module_size, self.module_channels, **shared)
