"""Numbers that a formula gives, by the name under which claims refer to them."""

from __future__ import annotations

from collections.abc import Callable

from dlperf.accounting import mlp
from dlperf.accounting.alexnet import alexnet
from dlperf.accounting.inception import PRESETS, inception
from dlperf.accounting.receptive_field import receptive_field
from dlperf.accounting.resnet import count_resnet
from dlperf.accounting.vgg import vgg19
from dlperf.claims.ledger import Claim

_MODULE, _MODULE_3B = PRESETS["assignment"], PRESETS["3b"]


def _module(*, reduced: bool) -> int:
    return inception(_MODULE, reduced=reduced).multiplications or 0


def _depth(*, reduced: bool) -> int:
    return inception(_MODULE, reduced=reduced).rows[-1].output_shape[-1]


CLOSED_FORMS: dict[str, Callable[[], float]] = {
    "mlp_parameters": lambda: 3072 * 1000 + 1000 + 1000 * 1000 + 1000 + 1000 * 10 + 10,
    "mlp_multiplications": lambda: mlp.multiplications((1000, 1000), 3072, 10),
    "resnet44_projection_parameters": lambda: count_resnet(44).num_params,
    "resnet44_option_a_parameters": lambda: count_resnet(44, projection=False, conv_bias=False).num_params,
    "resnet44_projection_multiplications": lambda: count_resnet(44).multiplications,
    "resnet44_option_a_multiplications": lambda: count_resnet(44, projection=False, conv_bias=False).multiplications,
    "networks": lambda: len(mlp.networks()),
    "alexnet_notebook_parameters": lambda: alexnet("notebook").parameters,
    "alexnet_corrected_parameters": lambda: alexnet("corrected").parameters,
    "alexnet_paper_parameters": lambda: alexnet("paper").parameters,
    "alexnet_multiplications": lambda: alexnet("corrected").multiplications or 0,
    "alexnet_grouped_multiplications": lambda: alexnet("paper").multiplications or 0,
    "vgg19_parameters_without_biases": lambda: vgg19(bias=False).parameters,
    "vgg19_parameters": lambda: vgg19().parameters,
    "vgg19_activations": lambda: vgg19().activations,
    "vgg19_multiplications": lambda: vgg19().multiplications or 0,
    "stack_receptive_field": lambda: receptive_field(3, 5),
    "single_receptive_field": lambda: receptive_field(1, 13),
    "inception_naive_depth": lambda: _depth(reduced=False),
    "inception_reduced_depth": lambda: _depth(reduced=True),
    "inception_naive_multiplications": lambda: _module(reduced=False),
    "inception_reduced_multiplications": lambda: _module(reduced=True),
    "inception_ratio": lambda: _module(reduced=False) / _module(reduced=True),
    "inception_3b_multiplications": lambda: inception(_MODULE_3B, reduced=True).multiplications or 0,
    "inception_3b_parameters": lambda: inception(_MODULE_3B, reduced=True).parameters,
}


def closed_form(claim: Claim) -> float | None:
    """Return the number that the claim's formula gives; None where it names none.

    Raises:
        KeyError: There is no such formula.
    """
    if not claim.closed_form:
        return None
    if claim.closed_form == "network_parameters":
        return mlp.num_params([int(units) for units in str(claim.where["units"]).split(",")])
    return CLOSED_FORMS[claim.closed_form]()
