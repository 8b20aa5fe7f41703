from __future__ import annotations

import keras
import numpy as np

from dlperf.compiled_count import count_compiled, entry_elements, multiplications
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


def test_convolutions_in_groups() -> None:
    shapes = "f32[1,8,8,4]{3,2,1,0} %a, f32[3,3,2,6]{3,2,1,0} %b"
    line = f"  ROOT %c = f32[1,6,6,6]{{3,2,1,0}} convolution({shapes}), {LABELS}, feature_group_count=2\n"
    assert multiplications(HEADER + line) == 6 * 6 * 6 * 3 * 3 * 2


def test_transposed_convolutions_are_counted_from_their_input() -> None:
    shapes = "f32[1,8,8,4]{3,2,1,0} %a, f32[3,3,6,4]{3,2,1,0} %b"
    window = "window={size=3x3 pad=2_2x2_2 lhs_dilate=2x2 rhs_reversal=1x1}, dim_labels=b01f_01oi->b01f"
    line = f"  %c = f32[1,17,17,6]{{3,2,1,0}} convolution({shapes}), {window}\n"
    assert multiplications(line) == 8 * 8 * 4 * 9 * 6


def test_loops_cannot_be_read_off() -> None:
    assert multiplications("  %w = (s32[], f32[4]{0}) while((s32[], f32[4]{0}) %t), condition=%c, body=%b\n") is None


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
