"""Numbers that a formula gives, by the name under which claims refer to them."""

from __future__ import annotations

from collections.abc import Callable

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
_MODULE, _MODULE_3B = PRESETS["assignment"], PRESETS["3b"]


def _module(*, reduced: bool) -> int:
    return inception(_MODULE, reduced=reduced).multiplications or 0


def _depth(*, reduced: bool) -> int:
    return inception(_MODULE, reduced=reduced).rows[-1].output_shape[-1]


def _side_left(layers: int, kernel: int) -> int:
    return filter_stack(layers, kernel, _SIZE, 1).rows[-1].output_shape[0]


def _equal_outputs_see_alike() -> float:
    """1 if stacks that leave an image its size, as all padded ones do, see equally much; by recurrence."""
    return float(len({receptive_fields(layers, 3)[-1] for layers in (1, 2, 3)}) == 1)


CLOSED_FORMS: dict[str, Callable[[], float]] = {
    "resnet44_projection_parameters": lambda: count_resnet(44).num_params,
    "networks": lambda: len(mlp.networks()),
    "alexnet_notebook_parameters": lambda: alexnet("notebook").parameters,
    "alexnet_corrected_parameters": lambda: alexnet("corrected").parameters,
    "alexnet_paper_parameters": lambda: alexnet("paper").parameters,
    "alexnet_grouped_multiplications": lambda: alexnet("paper").multiplications or 0,
    "vgg19_parameters_without_biases": lambda: vgg19(bias=False).parameters,
    "vgg19_parameters": lambda: vgg19().parameters,
    "vgg19_activations": lambda: vgg19().activations,
    "vgg19_multiplications": lambda: vgg19().multiplications or 0,
    "stack_receptive_field": lambda: receptive_field(3, 5),
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
    "adadelta_rms": recurrences.root_mean_square_of_a_constant,
    "nadam_old_mean": recurrences.old_mean_over_its_corrected_self,
    "adagrad_matrix_step": recurrences.step_of_a_weight_without_gradient,
    "nesterov_over_momentum": recurrences.steps_of_nesterov_over_momentum,
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

    "TABLE LAYER COLUMN" is a cell of a table of layers ("vgg19 conv1_1 parameters").

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
        return float(getattr(row, column))
    return CLOSED_FORMS[claim.closed_form]()
