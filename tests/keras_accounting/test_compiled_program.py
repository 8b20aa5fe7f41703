from __future__ import annotations

import keras
import numpy as np
import pytest

from dlperf.keras_accounting.compiled_program import count_compiled, entry_elements, multiplications
from dlperf.keras_accounting.model_table import complete_inputs

HEADER = "HloModule m, entry_computation_layout={(f32[2,3]{1,0}, f32[3,4]{1,0}, /*index=2*/f32[])->(f32[2,4]{1,0})}\n"
LABELS = "window={size=3x3}, dim_labels=b01f_01io->b01f"


def test_arguments_of_a_program() -> None:
    assert entry_elements(HEADER) == 6 + 12 + 1


def test_products_of_matrices() -> None:
    line = "  %d.1 = f32[5,2,4]{2,1,0} dot(f32[5,2,3]{2,1,0} %a, f32[5,3,4]{2,1,0} %b), lhs_batch_dims={0}, "
    assert (
        multiplications(line + "lhs_contracting_dims={2}, rhs_batch_dims={0}, rhs_contracting_dims={1}\n")
        == 5 * 2 * 4 * 3
    )


def test_products_of_several_axes_and_in_several_computations() -> None:
    inside = "  ROOT %d = f32[] dot(f32[7]{0} %a, f32[7]{0} %b), lhs_contracting_dims={0}, rhs_contracting_dims={0}\n"
    outside = "  %e = f32[2,6]{1,0} dot(f32[2,3,4]{2,1,0} %a, f32[3,4,6]{2,1,0} %b), lhs_contracting_dims={1,2}\n"
    assert multiplications(inside) == 7
    assert multiplications(f"{HEADER}%inside {{\n{inside}}}\nENTRY %main {{\n{outside}}}\n") == 7 + 2 * 6 * 3 * 4


def test_what_is_no_sum_of_products_counts_none() -> None:
    names = 'metadata={op_type="Conv2D" op_name="model/dot(x)/convolution"}'
    lines = [
        "  %m = f32[2,3]{1,0} multiply(f32[2,3]{1,0} %a, f32[2,3]{1,0} %b)",
        f"  %t = f32[3,2]{{1,0}} transpose(f32[2,3]{{1,0}} %m), dimensions={{1,0}}, {names}",
        "  ROOT %r = f32[3]{0} reduce(f32[3,2]{1,0} %t, f32[] %z), dimensions={1}, to_apply=%add",
    ]
    assert multiplications(HEADER + "\n".join(lines)) == 0


def test_convolutions_in_one_and_in_three_dimensions() -> None:
    line = "  %c = bf16[1,6,5]{2,1,0} convolution(bf16[1,8,4]{2,1,0} %a, bf16[3,4,5]{2,1,0} %b), window={size=3}, "
    assert multiplications(line + "dim_labels=b0f_0io->b0f\n") == 6 * 5 * 3 * 4
    shapes = "f32[1,2,4,5,6]{4,3,2,1,0} %a, f32[3,2,2,2,1]{4,3,2,1,0} %b"
    labels = "window={size=2x2x1}, dim_labels=bf012_oi012->bf012"
    line = f"  %c = f32[1,3,3,4,6]{{4,3,2,1,0}} convolution({shapes}), {labels}\n"
    assert multiplications(line) == 3 * (3 * 4 * 6) * (2 * 2 * 1) * 2


def test_convolutions_in_groups() -> None:
    shapes = "f32[1,8,8,4]{3,2,1,0} %a, f32[3,3,2,6]{3,2,1,0} %b"
    line = f"  ROOT %c = f32[1,6,6,6]{{3,2,1,0}} convolution({shapes}), {LABELS}, feature_group_count=2\n"
    assert multiplications(HEADER + line) == 6 * 6 * 6 * 3 * 3 * 2


def test_transposed_convolutions_are_counted_from_their_input() -> None:
    shapes = "f32[1,8,8,4]{3,2,1,0} %a, f32[3,3,6,4]{3,2,1,0} %b"
    window = "window={size=3x3 pad=2_2x2_2 lhs_dilate=2x2 rhs_reversal=1x1}, dim_labels=b01f_01oi->b01f"
    line = f"  %c = f32[1,17,17,6]{{3,2,1,0}} convolution({shapes}), {window}\n"
    assert multiplications(line) == 8 * 8 * 4 * 9 * 6


def test_transposed_convolutions_in_groups() -> None:
    shapes = "f32[1,8,8,4]{3,2,1,0} %a, f32[3,3,6,2]{3,2,1,0} %b"
    window = "window={size=3x3 lhs_dilate=2x2}, dim_labels=b01f_01oi->b01f, feature_group_count=2"
    line = f"  %c = f32[1,17,17,6]{{3,2,1,0}} convolution({shapes}), {window}\n"
    assert multiplications(line) == 8 * 8 * 4 * 9 * (6 // 2)


@pytest.mark.parametrize(
    "line",
    [
        "  %w = (s32[], f32[4]{0}) while((s32[], f32[4]{0}) %t), condition=%c, body=%b",
        "  ROOT %k = f32[4]{0} conditional(pred[] %p, f32[4]{0} %a, f32[4]{0} %b)",
        '  %k = f32[4]{0} custom-call(f32[4]{0} %a), custom_call_target="TopK"',
        "  %k = f32[4]{0} call(f32[4]{0} %a), to_apply=%f",
        '  %r = f32[4,4]{1,0} reshape(f32[16]{0} %a), metadata={op_type="SpaceToBatchND"}',
    ],
    ids=["loop", "branch", "custom call", "call", "regrouping"],
)
def test_loops_calls_and_regroupings_cannot_be_read_off(line: str) -> None:
    product = "  %d = f32[2,4]{1,0} dot(f32[2,3]{1,0} %a, f32[3,4]{1,0} %b), lhs_contracting_dims={1}\n"
    assert multiplications(product) == 24
    assert multiplications(f"{product}{line}\n") is None


def test_constants_are_no_weights() -> None:
    inputs = keras.Input((4, 5))
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.ops.matmul(np.ones((4, 4), "float32"), inputs)))
    count = count_compiled(model, complete_inputs(model))
    assert (count.parameters, count.not_read) == (5 * 3 + 3, {})
    assert count.multiplications == 4 * 5 * 4 + 4 * 5 * 3


def test_what_xla_cannot_compile_is_said_in_one_line() -> None:
    inputs = keras.Input((4,), dtype="string")
    lengths = keras.layers.Lambda(lambda x: __import__("tensorflow").strings.length(x), output_shape=(4,))(inputs)
    model = keras.Model(inputs, lengths)
    with pytest.raises(ValueError, match=r"^XLA cannot compile it: .+$"):
        count_compiled(model, complete_inputs(model))


def test_weights_that_are_not_read_and_constants() -> None:
    inputs = keras.Input((3,))
    given = keras.layers.Normalization(mean=[1.0, 2, 3], variance=[1.0, 1, 1])(inputs)
    adapted = keras.layers.Normalization()(given)
    model = keras.Model(inputs, keras.layers.Dense(2)(adapted))
    count = count_compiled(model, complete_inputs(model))
    assert count.parameters == 3 * 2 + 2
    assert sorted(count.not_read.values()) == [1, 3, 3]
    assert count.parameters + sum(count.not_read.values()) == model.count_params()
    assert count.multiplications == 6
    assert np.isfinite(model(np.ones((1, 3)))).all()
