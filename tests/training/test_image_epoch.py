"""The compiled epoch against the slow, obvious way: an eager loop over batches with one gradient each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from dlperf.errors import TrialFailed
from dlperf.models.resnet import resnet
from dlperf.processor import cores
from dlperf.training import compiled_epoch
from dlperf.training.compiled_epoch import configure_runtime
from dlperf.training.image_epoch import ImageEpoch
from dlperf.training.objectives import Classification
from tests.support.rounding import assert_trained_alike, tolerance

configure_runtime(cores())
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (50, 8, 8, 3), dtype=np.uint8)
LABELS = RNG.integers(0, 10, 50).astype("int32")
PIXELS = 8 * 8 * 3  # products in the longest sum of a step


def dense_model() -> keras.Model:
    """A model without batch normalisation, so that splitting a batch changes nothing but rounding."""
    initial = keras.initializers.GlorotUniform(seed=1)
    layers = [
        keras.Input((8, 8, 3)),
        keras.layers.Flatten(),
        keras.layers.Dense(16, "tanh", kernel_initializer=initial, kernel_regularizer=keras.regularizers.L2(0.01)),
        keras.layers.Dense(10, kernel_initializer=keras.initializers.GlorotUniform(seed=2)),
    ]
    return keras.Sequential(layers)


def adam() -> keras.optimizers.Optimizer:
    """Adam whose epsilon lies between a gradient's rounding (`tests/support/rounding.py`) and most gradients."""
    return keras.optimizers.Adam(0.01, epsilon=1e-3)


def copy_dependent(images: Any, image: Any, copy: Any, draws: Any) -> Any:
    """An augmentation that shows which image and which copy it was given."""
    factor = 1.0 + ops.cast(copy, "float32") + 0.01 * ops.cast(image, "float32")
    return ops.cast(images, "float32") / 255.0 * factor[:, None, None, None]


def random_brightness(images: Any, image: Any, copy: Any, draws: Any) -> Any:
    return ops.cast(images, "float32") / 255.0 * draws[:, :1, None, None]


def engine(
    model: keras.Model | None = None,
    augment: Callable[..., Any] = copy_dependent,
    optimizer: keras.optimizers.Optimizer | None = None,
    **settings: int,
) -> ImageEpoch:
    defaults = {"batch_size": 8, "copies_in_epoch": 1, "copies_in_batch": 1, "micro_batch": 8, "random_seed": 3}
    return ImageEpoch(
        model or dense_model(),
        optimizer or adam(),
        IMAGES,
        LABELS,
        objective=Classification(),
        augment=augment,
        prepare=lambda images: ops.cast(images, "float32") / 255.0,
        **{**defaults, **settings},
    )


def digest(trained: ImageEpoch) -> str:
    return hashlib.sha256(b"".join(array.tobytes() for array in trained.state().values())).hexdigest()


def oracle(
    copies_in_epoch: int, copies_in_batch: int, epochs: int
) -> tuple[list[np.ndarray], list[float], list[float]]:
    """Train eagerly, one whole batch at a time; return weights, and losses and accuracies per epoch."""
    import tensorflow as tf

    model, optimizer = dense_model(), adam()
    entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    losses, accuracies = [], []
    for epoch in range(1, epochs + 1):
        order = np.random.Generator(np.random.Philox(key=[3, epoch])).permutation(50 * copies_in_epoch)
        loss_sum = correct = count = 0.0
        for begin in range(0, len(order), 8):
            chosen = [
                (i // copies_in_epoch, i % copies_in_epoch + copy)
                for copy in range(copies_in_batch)
                for i in order[begin : begin + 8]
            ]
            batch = np.stack([IMAGES[i] / 255.0 * (1.0 + copy + 0.01 * i) for i, copy in chosen]).astype("float32")
            labels = LABELS[[i for i, _ in chosen]]
            with tf.GradientTape() as tape:
                logits = model(batch, training=True)
                loss = entropy(labels, logits) + sum(model.losses)
            optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
            loss_sum += float(loss) * len(chosen)
            correct += (logits.numpy().argmax(1) == labels).sum()
            count += len(chosen)
        losses.append(loss_sum / count)
        accuracies.append(correct / count)
    return model.get_weights(), losses, accuracies


@pytest.mark.parametrize(
    ("copies_in_epoch", "copies_in_batch", "micro_batch"),
    [(1, 1, 8), (3, 1, 8), (1, 3, 24), (1, 3, 8), (1, 3, 7), (1, 4, 10)],
)
def test_equals_the_eager_loop(copies_in_epoch: int, copies_in_batch: int, micro_batch: int) -> None:
    """50 images in batches of 8 leave a smaller last one; 7 and 10 do not divide the rows of a batch."""
    settings = {"copies_in_epoch": copies_in_epoch, "copies_in_batch": copies_in_batch, "micro_batch": micro_batch}
    ours = engine(**settings)
    ours.compile()
    sums = [list(ours.train_epoch(epoch))[-1].sums for epoch in (1, 2)]
    weights, losses, accuracies = oracle(copies_in_epoch, copies_in_batch, epochs=2)
    steps = 2 * -(-50 * copies_in_epoch // 8)
    assert_trained_alike(ours.model.get_weights(), weights, dense_model().get_weights(), terms=PIXELS, steps=steps)
    assert [s.mean_loss for s in sums] == pytest.approx(losses, rel=tolerance(PIXELS, steps=steps))
    assert [s.accuracy for s in sums] == pytest.approx(accuracies)
    assert sums[0].examples == 50 * copies_in_epoch * copies_in_batch


def test_evaluation_equals_the_eager_model() -> None:
    images = RNG.integers(0, 256, (613, 8, 8, 3), dtype=np.uint8)  # 250 + 250 + 113
    labels = RNG.integers(0, 10, 613)
    ours = engine()
    sums = list(ours.evaluate(ours.to_device(images, labels)))[-1].sums
    logits = ours.model(images.astype("float32") / 255.0)
    entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, logits)
    assert sums.mean_loss == pytest.approx(float(entropy + sum(ours.model.losses)), rel=tolerance(613))
    assert sums.accuracy == pytest.approx((np.argmax(logits, 1) == labels).mean())


def test_compile_changes_nothing() -> None:
    ours = engine(resnet(8, random_seed=0, input_shape=(8, 8, 3)))
    before = digest(ours)
    ours.compile()
    assert digest(ours) == before


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"copies_in_epoch": 2}, {"copies_in_batch": 3, "micro_batch": 12}])
def test_two_trainings_are_equal_to_the_bit_however_they_are_cut(
    settings: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    digests, sums = set(), set()
    ours = engine(resnet(8, random_seed=0, input_shape=(8, 8, 3)), random_brightness, **settings)
    ours.compile()
    start = {name: array.copy() for name, array in ours.state().items()}
    for seconds in (0.0, 0.02, 1000.0):  # a step at a time, some, and (after the first step) all that is left
        monkeypatch.setattr(compiled_epoch, "_SEGMENT_SECONDS", seconds)
        ours.restore(start)
        segments = [list(ours.train_epoch(epoch)) for epoch in (1, 2)]
        assert seconds or len(segments[0]) == ours.steps
        digests.add(digest(ours))
        sums.add(segments[-1][-1].sums)
    assert len(digests) == len(sums) == 1


@pytest.mark.slow
def test_an_epoch_depends_on_seed_and_epoch_only() -> None:
    """What was trained before leaves no trace but the weights: the base of resuming."""
    whole, resumed = (engine(resnet(8, random_seed=0, input_shape=(8, 8, 3)), random_brightness) for _ in range(2))
    for epoch in (1, 2, 3):
        if epoch == 3:
            resumed.restore(whole.state())
        list(whole.train_epoch(epoch))
    list(resumed.train_epoch(3))
    assert digest(whole) == digest(resumed)
    other = engine(resnet(8, random_seed=0, input_shape=(8, 8, 3)), random_brightness, random_seed=4)
    for epoch in (1, 2, 3):
        list(other.train_epoch(epoch))
    assert digest(other) != digest(whole)


def test_draws_differ_between_rows_steps_chunks_and_epochs() -> None:
    """With a learning rate of 0 only the draws can change the loss."""
    ours = engine(augment=random_brightness, optimizer=keras.optimizers.SGD(0.0), copies_in_batch=2, micro_batch=4)
    losses = [segment.sums.loss for epoch in (1, 2) for segment in ours.train_epoch(epoch)]
    assert len(set(losses)) == len(losses)


def test_a_lower_rate_takes_effect_at_once_with_momentum() -> None:
    """Against SGD written as in PyTorch: v = 0.9 v + g; w = w - rate v."""
    import tensorflow as tf

    ours = engine(optimizer=keras.optimizers.SGD(0.1, momentum=0.9), batch_size=50, micro_batch=50)
    model = dense_model()
    velocities = [np.zeros(v.shape, "float32") for v in model.trainable_variables]
    entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    factors = (1.0 + 0.01 * np.arange(50)).astype("float32")[:, None, None, None]
    for epoch, rate in enumerate((0.1, 0.1, 0.01, 0.01), 1):
        ours.set_learning_rate(rate)
        list(ours.train_epoch(epoch))
        with tf.GradientTape() as tape:
            loss = entropy(LABELS, model((IMAGES / 255.0).astype("float32") * factors)) + sum(model.losses)
        gradients = tape.gradient(loss, model.trainable_variables)
        for i, (variable, gradient) in enumerate(zip(model.trainable_variables, gradients, strict=True)):
            velocities[i] = 0.9 * velocities[i] + gradient.numpy()
            variable.assign_sub(rate * velocities[i])
    start = dense_model().get_weights()
    assert_trained_alike(ours.model.get_weights(), model.get_weights(), start, terms=PIXELS, steps=4)


def test_the_number_of_threads_cannot_change_within_a_process() -> None:
    configure_runtime(cores())
    with pytest.raises(TrialFailed, match="already computes with"):
        configure_runtime(cores() + 1)
