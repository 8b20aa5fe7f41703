from __future__ import annotations

import keras
import numpy as np
import pytest

from dlperf.accounting.resnet import blocks_per_stage, count_resnet
from dlperf.models.batch_norm import FusedBatchNormalization
from dlperf.models.resnet import resnet
from tests.support.rounding import tolerance

OPTION_A = {"projection": False, "conv_bias": False}


def test_published_totals_of_resnet44() -> None:
    """The notebook's printed summary, and what 0.66M of He et al. (2015), table 6, is exactly."""
    ours, paper = count_resnet(44), count_resnet(44, **OPTION_A)
    assert (ours.num_params, ours.num_trainable, ours.multiplications) == (665_994, 662_826, 97_436_288)
    assert (paper.num_params, paper.num_trainable, paper.multiplications) == (661_754, 658_586, 97_174_144)


@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)])
def test_table_6_of_he_et_al(depth: int, millions: float) -> None:
    assert count_resnet(depth, **OPTION_A).num_trainable / 1e6 == pytest.approx(
        millions, abs=0.05 if depth > 56 else 0.006
    )


@pytest.mark.parametrize("options", [{}, OPTION_A])
@pytest.mark.parametrize("depth", [8, 20, 44])
def test_the_closed_form_is_what_keras_counts(depth: int, options: dict[str, bool]) -> None:
    model, count = resnet(depth, random_seed=0, **options), count_resnet(depth, **options)
    assert model.count_params() == count.num_params
    assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == count.num_trainable
    multiplications = 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            multiplications += int(np.prod(layer.kernel.shape)) * layer.output.shape[1] * layer.output.shape[2]
        elif isinstance(layer, keras.layers.Dense):
            multiplications += int(np.prod(layer.kernel.shape))
    assert multiplications == count.multiplications


@pytest.mark.parametrize(
    ("depth", "nearest"), [(45, "44 and 50"), (9, "8 and 14"), (2, "8"), (-1, "8"), (43, "38 and 44")]
)
def test_other_depths_are_refused_with_the_nearest(depth: int, nearest: str) -> None:
    with pytest.raises(ValueError, match=f"nearest: {nearest}$"):
        blocks_per_stage(depth)


def test_initial_weights_follow_from_the_random_seed_alone() -> None:
    first = resnet(8, random_seed=7).get_weights()
    keras.utils.set_random_seed(99)
    again, other = resnet(8, random_seed=7).get_weights(), resnet(8, random_seed=8).get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])
    # Two layers of one shape start differently.
    assert not np.array_equal(resnet(8, random_seed=7).layers[4].kernel, resnet(8, random_seed=7).layers[7].kernel)


def test_weight_decay_is_the_gradient_contribution() -> None:
    model = resnet(8, random_seed=0, weight_decay=2e-4)
    kernels = [layer.kernel for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert len(model.losses) == len(kernels) == 9  # seven 3x3, two shortcuts, not the dense layer
    assert float(sum(model.losses)) == pytest.approx(
        sum(1e-4 * float((k.numpy() ** 2).sum()) for k in kernels), rel=tolerance(max(k.numpy().size for k in kernels))
    )
    assert len(resnet(8, random_seed=0, weight_decay=2e-4, decay_dense=True).losses) == 10


def test_fused_batch_normalisation_is_keras_own() -> None:
    images = np.random.default_rng(0).normal(2, 3, (6, 5, 4, 7)).astype("float32")
    fused, plain = FusedBatchNormalization(momentum=0.9), keras.layers.BatchNormalization(momentum=0.9)
    n = 6 * 5 * 4  # values per channel

    def assert_near(ours: keras.KerasTensor, theirs: keras.KerasTensor, size: float) -> None:
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=size * tolerance(n))

    largest = np.abs(images).max()
    assert_near(fused(images, training=True), plain(images, training=True), largest)
    assert_near(fused.moving_mean, plain.moving_mean, 0.1 * np.abs(images).mean())
    # Unbiased: n / (n - 1) of Keras's increment.
    assert_near((fused.moving_variance - 0.9) * (n - 1) / n, plain.moving_variance - 0.9, 0.1 * (images**2).mean())
    plain.moving_variance.assign(fused.moving_variance)
    assert_near(fused(images, training=False), plain(images, training=False), largest)


def test_option_a_shortcut_subsamples_and_pads() -> None:
    model = resnet(8, random_seed=0, **OPTION_A)
    pads = [operation for operation in model.operations if type(operation).__name__ == "Pad"]
    assert len(pads) == 2
    probe = keras.Model(model.inputs, [pads[0].input, pads[0].output])
    before, after = probe.predict(np.random.default_rng(0).random((1, 32, 32, 3)), verbose=0)
    np.testing.assert_array_equal(after[..., 8:24], before)
    assert not after[..., :8].any()
    assert not after[..., 24:].any()
