from __future__ import annotations

import ast
import itertools
import operator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlperf.accounting.alexnet import VARIANTS, alexnet
from dlperf.accounting.inception import PRESETS, inception
from dlperf.accounting.layers import (
    LayerTable,
    concatenation_row,
    convolution_row,
    dense_row,
    input_row,
    normalisation_row,
    pooling_row,
)
from dlperf.accounting.receptive_field import filter_stack, receptive_field, receptive_fields
from dlperf.accounting.vgg import vgg19

ASSIGNMENT = PRESETS["assignment"]
TABLES = [
    *(alexnet(variant) for variant in VARIANTS),
    *(vgg19(bias=bias) for bias in (False, True)),
    *(inception(module, reduced=reduced) for module in PRESETS.values() for reduced in (False, True)),
    *(filter_stack(3, 5, 32, 64), filter_stack(1, 13, 32, 64)),
]


def parameters(table: LayerTable) -> dict[str, int]:
    return {row.layer: row.parameters for row in table.rows if row.parameters}


def multiplications(table: LayerTable) -> dict[str, int | None]:
    return {row.layer: row.multiplications for row in table.rows if row.multiplications}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.title)
def test_the_totals_are_the_columns_sums(table: LayerTable) -> None:
    totals = [0, 0, 0]
    for row in table.rows:
        totals[0] += row.parameters
        totals[1] += row.activations or 0
        totals[2] += row.multiplications or 0
    assert totals == [table.parameters, table.activations, table.multiplications]
    assert not table.at_least


def value(formula: str) -> int:
    """Work out products, sums and brackets, as "(11 x 11 x 3 + 1) x 96"."""

    def of(node: ast.expr) -> int:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mult):
            return (operator.add if isinstance(node.op, ast.Add) else operator.mul)(of(node.left), of(node.right))
        assert isinstance(node, ast.Constant), formula
        return int(node.value)

    return of(ast.parse(formula.replace(",", "").replace("x", "*"), mode="eval").body)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.title)
def test_a_formula_ends_in_the_rows_parameters(table: LayerTable) -> None:
    for row in table.rows:
        product, _, result = row.formula.partition(" = ")
        assert (result.replace(",", "") or "0") == str(row.parameters)
        assert value(product or "0") == row.parameters


@pytest.mark.parametrize(
    ("variant", "params", "products"),
    [
        ("notebook", 62_369_152, 1_135_256_096),
        ("corrected", 62_378_344, 1_135_256_096),
        ("paper", 60_965_224, 724_406_816),
    ],
)
def test_alexnets_totals(variant: str, params: int, products: int) -> None:
    table = alexnet(variant)  # type: ignore[arg-type]
    assert (table.parameters, table.multiplications) == (params, products)


def test_alexnet_layer_by_layer() -> None:
    dense = {"fc6": 37_748_736, "fc7": 16_777_216, "fc8": 4_096_000}
    one_group = {"conv1": 34_944, "conv2": 614_656, "conv3": 885_120, "conv4": 1_327_488, "conv5": 884_992}
    two_groups = {"conv1": 34_944, "conv2": 307_456, "conv3": 885_120, "conv4": 663_936, "conv5": 442_624}
    biases = {name: count + (1000 if name == "fc8" else 4096) for name, count in dense.items()}
    assert parameters(alexnet("notebook")) == one_group | dense
    assert parameters(alexnet("corrected")) == one_group | biases
    assert parameters(alexnet("paper")) == two_groups | biases


def test_alexnets_convolutions_and_shapes() -> None:
    for variant, products in (("corrected", 1_076_634_144), ("paper", 665_784_864)):
        table = alexnet(variant)  # type: ignore[arg-type]
        convolutions = [count for name, count in multiplications(table).items() if name.startswith("conv")]
        assert sum(count or 0 for count in convolutions) == products
    rows = alexnet("paper").rows
    assert [row.layer for row in rows[:7]] == ["input", "conv1", "norm1", "pool1", "conv2", "norm2", "pool2"]
    assert alexnet("paper").shape_text(rows[0].output_shape) == "3 x 227 x 227"
    assert rows[1].formula == "(11 x 11 x 3 + 1) x 96 = 34,944"
    assert [alexnet("paper").shape_text(row.output_shape) for row in rows[1:]] == [
        *("96 x 55 x 55", "96 x 55 x 55", "96 x 27 x 27", "256 x 27 x 27", "256 x 27 x 27", "256 x 13 x 13"),
        *("384 x 13 x 13", "384 x 13 x 13", "256 x 13 x 13", "256 x 6 x 6", "4,096", "4,096", "1,000"),
    ]


def test_the_notebooks_alexnet_pools_first() -> None:
    table = alexnet("notebook")
    assert [row.layer for row in table.rows[:7]] == ["input", "conv1", "pool1", "norm1", "conv2", "pool2", "norm2"]
    assert (table.activations, alexnet("corrected").activations) == (1_049_571, 1_413_347)


def test_alexnets_formulas() -> None:
    formulas = {variant: [row.formula for row in alexnet(variant).rows if row.formula] for variant in VARIANTS}
    assert formulas["corrected"] == [
        "(11 x 11 x 3 + 1) x 96 = 34,944",
        "(5 x 5 x 96 + 1) x 256 = 614,656",
        "(3 x 3 x 256 + 1) x 384 = 885,120",
        "(3 x 3 x 384 + 1) x 384 = 1,327,488",
        "(3 x 3 x 384 + 1) x 256 = 884,992",
        "(6 x 6 x 256 + 1) x 4,096 = 37,752,832",
        "(4,096 + 1) x 4,096 = 16,781,312",
        "(4,096 + 1) x 1,000 = 4,097,000",
    ]
    assert formulas["notebook"][:5] == formulas["corrected"][:5]
    assert formulas["notebook"][5:] == [
        *("(6 x 6 x 256) x 4,096 = 37,748,736", "4,096 x 4,096 = 16,777,216", "4,096 x 1,000 = 4,096,000"),
    ]
    assert formulas["paper"][1] == "(5 x 5 x 48 + 1) x 256 = 307,456"
    assert formulas["paper"][3:5] == ["(3 x 3 x 192 + 1) x 384 = 663,936", "(3 x 3 x 192 + 1) x 256 = 442,624"]


def test_vgg19_is_the_notebooks_table_and_its_total_activations_are_exact() -> None:
    bare, whole = vgg19(bias=False), vgg19()
    assert list(parameters(bare).values()) == [
        *(1_728, 36_864, 73_728, 147_456, 294_912, 589_824, 589_824, 589_824),
        *(1_179_648, 2_359_296, 2_359_296, 2_359_296, 2_359_296, 2_359_296, 2_359_296, 2_359_296),
        *(102_760_448, 16_777_216, 4_096_000),
    ]
    assert (bare.parameters, whole.parameters) == (143_652_544, 143_667_240)
    assert bare.activations == whole.activations == 16_542_184
    assert bare.multiplications == whole.multiplications == 19_632_062_464
    convolutions = [count or 0 for name, count in multiplications(whole).items() if name.startswith("conv")]
    assert sum(convolutions) == 19_508_428_800
    assert [row.activations for row in bare.rows] == [
        *(150_528, 3_211_264, 3_211_264, 802_816, 1_605_632, 1_605_632, 401_408),
        *(802_816, 802_816, 802_816, 802_816, 200_704, 401_408, 401_408, 401_408, 401_408, 100_352),
        *(100_352, 100_352, 100_352, 100_352, 25_088, 4_096, 4_096, 1_000),
    ]
    assert bare.rows[1].formula == "(3 x 3 x 3) x 64 = 1,728"


@given(st.integers(1, 40), st.integers(1, 15))
def test_the_recurrence_is_the_closed_form(layers: int, kernel: int) -> None:
    seen = receptive_fields(layers, kernel)
    assert len(seen) == layers
    assert seen[-1] == receptive_field(layers, kernel) == layers * kernel - layers + 1
    assert all(later - earlier == kernel - 1 for earlier, later in itertools.pairwise(seen))


@given(st.integers(1, 6), st.integers(1, 7), st.integers(0, 20))
def test_the_stack_gives_the_size_that_one_filter_gives(layers: int, kernel: int, more: int) -> None:
    side = receptive_field(layers, kernel)
    stack, single = filter_stack(layers, kernel, side + more, 2), filter_stack(1, side, side + more, 2)
    assert stack.rows[-1].output_shape == single.rows[-1].output_shape == (more + 1, more + 1, 2)


def test_three_filters_of_five_see_thirteen() -> None:
    assert receptive_fields(3, 5) == [5, 9, 13]
    stack, single = filter_stack(3, 5, 32, 64), filter_stack(1, 13, 32, 64)
    assert stack.rows[-1].output_shape == single.rows[-1].output_shape == (20, 20, 64)
    assert (stack.parameters, single.parameters) == (75 * 64**2, 169 * 64**2)


def test_the_assignments_inception_module() -> None:
    naive, reduced = (inception(ASSIGNMENT, reduced=form) for form in (False, True))
    assert multiplications(naive) == {"1x1": 33_554_432, "3x3": 452_984_832, "5x5": 629_145_600}
    assert multiplications(reduced) == {
        **{"1x1": 33_554_432, "3x3_reduce": 33_554_432, "3x3": 226_492_416},
        **{"5x5_reduce": 8_388_608, "5x5": 78_643_200, "pool_projection": 16_777_216},
    }
    assert (naive.multiplications, reduced.multiplications) == (1_115_684_864, 397_410_304)
    ratio = naive.multiplications / reduced.multiplications
    assert (round(ratio, 3), round(100 * (1 - 1 / ratio), 1)) == (2.807, 64.4)
    assert (naive.rows[-1].output_shape, reduced.rows[-1].output_shape) == ((32, 32, 672), (32, 32, 480))
    assert [row.output_shape[-1] for row in naive.rows[1:-1]] == [128, 192, 96, 256]
    assert {name: parameters(reduced)[name] for name in ("1x1", "3x3", "5x5", "pool_projection")} == {
        **{"1x1": 32_768, "3x3": 221_184, "5x5": 76_800, "pool_projection": 16_384},
    }
    assert (naive.parameters, reduced.parameters) == (1_089_536, 388_096)
    biases = [inception(ASSIGNMENT, reduced=form, bias=True).parameters for form in (False, True)]
    assert biases == [1_089_536 + 416, 388_096 + 640]


def test_googlenets_modules_fit_together() -> None:
    assert inception(PRESETS["3b"], reduced=True).multiplications == 304_267_264  # 304M in table 1
    assert inception(PRESETS["3b"], reduced=True).parameters == 388_096  # 380K in table 1, of 1024
    names = ["3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"]
    assert [*PRESETS] == ["assignment", *names]
    outputs = {name: inception(PRESETS[name], reduced=True).rows[-1].output_shape for name in names}
    for name, following in itertools.pairwise(names):
        halved = (name, following) in {("3b", "4a"), ("4e", "5a")}  # by a pooling between the two
        size, _, depth = outputs[name]
        assert (size // 2 if halved else size, depth) == (PRESETS[following].size, PRESETS[following].channels)
    assert outputs["5b"] == (7, 7, 1024)


def slid(
    inputs: tuple[int, ...], filters: int, kernel: int, *, stride: int = 1, padding: int = 0, groups: int = 1
) -> tuple[int, int, int]:
    """Slide every filter over the padded input, one product at a time: outputs, weights, products."""
    height, width, channels = inputs
    outputs, weights, products = set(), set(), 0
    for top, left, number in itertools.product(range(height + 2 * padding), range(width + 2 * padding), range(filters)):
        fits = top + kernel <= height + 2 * padding and left + kernel <= width + 2 * padding
        if not fits or top % stride or left % stride:
            continue
        outputs.add((top, left, number))
        for row, column, channel in itertools.product(range(kernel), range(kernel), range(channels)):
            if channel // (channels // groups) == number // (filters // groups):
                weights.add((number, row, column, channel))
                products += 1
    return len(outputs), len(weights), products


@settings(max_examples=60)
@given(
    height=st.integers(1, 7), width=st.integers(1, 7), kernel=st.integers(1, 3), stride=st.integers(1, 3),
    padding=st.integers(0, 2), groups=st.integers(1, 3), seen=st.integers(1, 2), filters=st.integers(1, 2),
    bias=st.booleans(),
)  # fmt: skip
def test_a_convolution_counted_by_sliding_it(
    height: int, width: int, kernel: int, stride: int, padding: int, groups: int, seen: int, filters: int, bias: bool
) -> None:
    kernel = min(kernel, height + 2 * padding, width + 2 * padding)
    inputs, filters = (height, width, groups * seen), groups * filters
    row = convolution_row("c", inputs, filters, kernel, stride=stride, padding=padding, groups=groups, bias=bias)
    outputs, weights, products = slid(inputs, filters, kernel, stride=stride, padding=padding, groups=groups)
    assert (row.activations, row.multiplications) == (outputs, products)
    assert row.parameters == weights + (filters if bias else 0)
    assert row.output_shape[-1] == filters


@settings(max_examples=40)
@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(0, 1))
def test_a_pooling_stops_where_its_square_does(
    height: int, width: int, channels: int, size: int, stride: int, padding: int
) -> None:
    size = min(size, height + 2 * padding, width + 2 * padding)
    row = pooling_row("p", (height, width, channels), size, stride, padding)
    outputs, _, _ = slid((height, width, channels), channels, size, stride=stride, padding=padding, groups=channels)
    assert (row.activations, row.parameters, row.multiplications) == (outputs, 0, 0)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=3), st.integers(1, 5), st.booleans())
def test_a_dense_layer_counted_weight_by_weight(inputs: list[int], units: int, bias: bool) -> None:
    row = dense_row("d", tuple(inputs), units, bias=bias)
    weights = sum(1 for _ in itertools.product(range(units), *map(range, inputs)))
    assert (row.parameters, row.multiplications) == (weights + (units if bias else 0), weights)
    assert (row.output_shape, row.activations) == ((units,), units)


def test_rows_without_weights_hold_their_elements() -> None:
    assert pooling_row("p", (55, 55, 96), 3, 2).output_shape == (27, 27, 96)
    joined = concatenation_row("j", [(4, 5, 3), (4, 5, 2), (4, 5, 6)])
    assert (joined.output_shape, joined.description) == ((4, 5, 11), "3 + 2 + 6 channels")
    for row in (input_row((4, 5, 11)), normalisation_row("n", (4, 5, 11), "any"), joined):
        assert (row.activations, row.parameters, row.multiplications, row.formula) == (220, 0, 0, "")
