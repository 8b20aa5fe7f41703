"""Numbers that a formula gives, by the name under which claims refer to them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import fmean

from dlperf.accounting import mlp
from dlperf.accounting.alexnet import alexnet
from dlperf.accounting.inception import PRESETS, inception
from dlperf.accounting.layers import LayerTable
from dlperf.accounting.receptive_field import filter_stack, receptive_field, receptive_fields
from dlperf.accounting.resnet import count_resnet
from dlperf.accounting.vgg import vgg19
from dlperf.claims import recurrences
from dlperf.claims.ledger import Claim

_STACKS = [(layers, kernel) for layers in range(1, 9) for kernel in range(1, 12)]
_SIZE = 100
_CHANNELS = 16
_RESNETS = (20, 32, 44, 56, 110)
_MODULE, _MODULE_3B = PRESETS["assignment"], PRESETS["3b"]


def _module(*, reduced: bool) -> int:
    return inception(_MODULE, reduced=reduced).multiplications or 0


def _depth(*, reduced: bool) -> int:
    return inception(_MODULE, reduced=reduced).rows[-1].output_shape[-1]


def _side_left(layers: int, kernel: int) -> int:
    return filter_stack(layers, kernel, _SIZE, 1).rows[-1].output_shape[0]


def _equal_outputs_see_alike() -> float:
    """1 if of unpadded stacks those that leave outputs of equal size see equally much, by the recurrence, else 0.

    With padding all leave an image its size; the notebook's proof starts from L - F + 1, without.
    """
    seen_by_side: dict[int, set[int]] = {}
    for stack in _STACKS:
        seen_by_side.setdefault(_side_left(*stack), set()).add(receptive_fields(*stack)[-1])
    return float(all(len(seen) == 1 for seen in seen_by_side.values()))


def _weights_per_channels_squared(layers: int, kernel: int) -> float:
    """The weights of a stack over the square of its channels, which it has as many of in as out."""
    return filter_stack(layers, kernel, receptive_field(layers, kernel), _CHANNELS).parameters / _CHANNELS**2


def _mean_parameters(layers: int) -> float:
    """The mean over all networks of problem 5 with so many hidden layers."""
    return fmean(mlp.num_params(units) for units in mlp.networks() if len(units) == layers)


def _projected(depth: int) -> int:
    """All parameters of a ResNet as the notebook builds it; Keras counts the normalisation's statistics too."""
    return count_resnet(depth).num_params


def _unprojected(depth: int) -> int:
    """What a ResNet of the paper learns: identity shortcuts (option A), convolutions without biases."""
    return count_resnet(depth, projection=False, conv_bias=False).num_trainable


CLOSED_FORMS: dict[str, Callable[[], float]] = {
    **{f"resnet{depth}_projection_parameters": partial(_projected, depth) for depth in _RESNETS},
    **{f"resnet{depth}_identity_parameters": partial(_unprojected, depth) for depth in _RESNETS},
    "networks": lambda: len(mlp.networks()),
    "mean_parameters_2_over_1": lambda: _mean_parameters(2) / _mean_parameters(1),
    "mean_parameters_3_over_2": lambda: _mean_parameters(3) / _mean_parameters(2),
    "alexnet_notebook_parameters": lambda: alexnet("notebook").parameters,
    "alexnet_corrected_parameters": lambda: alexnet("corrected").parameters,
    "alexnet_paper_parameters": lambda: alexnet("paper").parameters,
    "vgg19_parameters_without_biases": lambda: vgg19(bias=False).parameters,
    "vgg19_parameters": lambda: vgg19().parameters,
    "vgg19_activations": lambda: vgg19().activations,
    "vgg19_multiplications": lambda: vgg19().multiplications or 0,
    "stack_receptive_field": lambda: receptive_field(3, 5),
    "stack_3x3_receptive_field": lambda: receptive_fields(3, 3)[-1],
    "stack_3x3_weights": lambda: _weights_per_channels_squared(3, 3),
    "single_7x7_weights": lambda: _weights_per_channels_squared(1, 7),
    "inception_naive_depth": lambda: _depth(reduced=False),
    "inception_reduced_depth": lambda: _depth(reduced=True),
    "inception_naive_multiplications": lambda: _module(reduced=False),
    "inception_reduced_multiplications": lambda: _module(reduced=True),
    "inception_ratio": lambda: _module(reduced=False) / _module(reduced=True),
    "inception_3b_multiplications": lambda: inception(_MODULE_3B, reduced=True).multiplications or 0,
    "adam_has_momentum": lambda: recurrences.goes_on_against_the_gradient("adam"),
    "adadelta_has_momentum": lambda: recurrences.goes_on_against_the_gradient("adadelta"),
    "rmsprop_has_momentum": lambda: recurrences.goes_on_against_the_gradient("rmsprop"),
    "second_moment_of_a_constant": recurrences.second_moment_of_a_constant,
    "nadam_over_rmsprop_with_nesterov": recurrences.first_step_of_nadam_over_rmsprop_with_nesterov,
    "rmsprop_denominator": recurrences.squared_mean_over_mean_square,
    "nadam_old_mean": recurrences.old_mean_over_its_corrected_self,
    "stacks_seeing_nf_n_1": lambda: float(all(receptive_fields(n, f)[-1] == n * f - n + 1 for n, f in _STACKS)),
    "stacks_leaving_l_nf_n": lambda: float(all(_side_left(n, f) == _SIZE - n * f + n for n, f in _STACKS)),
    "equal_outputs_equal_fields": _equal_outputs_see_alike,
    "resnet44_trainable": lambda: count_resnet(44).num_trainable,
    "resnet44_statistics": lambda: count_resnet(44).num_params - count_resnet(44).num_trainable,
}

_TABLES: dict[str, Callable[[], LayerTable]] = {
    "alexnet": lambda: alexnet("corrected"),
    "vgg19": lambda: vgg19(bias=False),
    "inception_naive": lambda: inception(_MODULE, reduced=False),
    "inception_reduced": lambda: inception(_MODULE, reduced=True),
}


def closed_form(claim: Claim) -> float | None:
    """Return the number that the claim's formula gives; None where it names none.

    "TABLE LAYER COLUMN" is a cell of a table of layers ("vgg19 conv1_1 parameters"); the column depth has the channels
    of the output.

    Raises:
        KeyError: There is no such formula.
    """
    if not claim.closed_form:
        return None
    if claim.closed_form == "network_parameters":
        return mlp.num_params([int(units) for units in str(claim.where["units"]).split(",")])
    if claim.closed_form.count(" ") == 2:
        table, layer, column = claim.closed_form.split()
        (row,) = (row for row in _TABLES[table]().rows if row.layer == layer)
        return float(row.output_shape[-1] if column == "depth" else getattr(row, column))
    return CLOSED_FORMS[claim.closed_form]()
