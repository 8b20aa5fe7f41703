"""What the two protocols of the cutout problem train: data split, network, optimizer, augmentation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from dlperf.models.own_model import OwnNetwork
from dlperf.models.resnet import resnet
from dlperf.problems.model_parameters import model_digest, own_model
from dlperf.training import augment
from dlperf.training.compiled_epoch import fresh_runtime
from dlperf.training.image_epoch import ImageEpoch
from dlperf.training.loop import Prepared
from dlperf.training.objectives import Classification
from dlperf.trial import DataUsed, SavedModel

if TYPE_CHECKING:
    from dlperf.data.dataset import Dataset
    from dlperf.problems.cutout.parameters import CutoutParameters

_MOMENTUM = 0.9
# Published means and standard deviations of CIFAR-10's channels, as Hoffer's and DeVries' code normalises with.
_CIFAR_CHANNELS = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
_NORMALISED_AS_CIFAR = ("cifar10", "digits")
_SHIFT_SHARE = 0.1
_PADDING_SHARE = 8  # of the side: 4 pixels of 32
# Images, uint8 (N, H, W, C), and labels, int32 (N,).
Split = tuple[np.ndarray, np.ndarray]


def prepare(parameters: CutoutParameters, dataset: Dataset) -> Prepared:
    """Prepare the protocol's network, optimizer and augmentation on the images.

    Raises:
        TrialFailed: If this process already computes with another number of threads.
    """
    train, validation = split(dataset, parameters)
    own = None
    if parameters.own_model:
        fresh_runtime(parameters.threads)
        own = OwnNetwork(own_model(parameters, dataset), parameters.random_seed)
    compiled = compiled_epoch(parameters, *train, classes=len(dataset.label_names), own=own)
    test = compiled.to_device(dataset.test_inputs, dataset.test_labels)
    counts = {"train": len(train[0]), "validation": len(validation[0]), "test": test.examples}
    if parameters.notebook:
        del counts["validation"]  # the notebook validates on its test set
    return Prepared(
        compiled,
        {"validation": test if parameters.notebook else compiled.to_device(*validation)},
        test,
        DataUsed(dataset.name, dataset.digest, dataset.source, counts),
        save=lambda: saved_model(parameters, compiled.model, train[0], dataset, own),
        facts=own.facts("normalised channels") if own else {},
        tags={"dlperf.model_digest": model_digest(parameters)} if own else {},
    )


def split(dataset: Dataset, parameters: CutoutParameters) -> tuple[Split, Split]:
    """Return training and validation images and labels."""
    images, labels = dataset.train_inputs, dataset.train_labels
    size = parameters.train_size
    if parameters.notebook:  # views: the images are not copied
        return (images[:size], labels[:size]), (dataset.test_inputs, dataset.test_labels)
    chosen, *held_out = dataset.choose(parameters.validation_size, size, parameters.random_seed)
    return (images[chosen], labels[chosen]), (held_out[0], held_out[1])


def compiled_epoch(
    parameters: CutoutParameters,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    classes: int = 10,
    own: OwnNetwork | None = None,
) -> ImageEpoch:
    """Put the protocol's network, or the user's own, optimizer and augmentation together on uint8 images (N, H, W, C).

    Raises:
        TrialFailed: If this process already computes with another number of threads.
    """
    if own is None:
        fresh_runtime(parameters.threads)
    augmentation, preparation = pipelines(parameters, images, as_pixels=own is not None and own.scales_inputs)
    return ImageEpoch(
        own.network if own else network(parameters, images.shape[1:], classes),
        _optimizer(parameters),
        images,
        labels,
        objective=Classification(),
        augment=augmentation,
        prepare=preparation,
        batch_size=parameters.batch_size,
        copies_in_epoch=parameters.copies if parameters.copies_in == "epoch" else 1,
        copies_in_batch=parameters.copies if parameters.copies_in == "batch" else 1,
        micro_batch=parameters.micro_batch,
        random_seed=parameters.random_seed,
        optimized_evaluation=parameters.optimized_evaluation,
    )


def network(
    parameters: CutoutParameters,
    input_shape: tuple[int, ...] = (32, 32, 3),
    classes: int = 10,
    *,
    fused_batch_norm: bool = True,
) -> keras.Model:
    """Build the protocol's ResNet."""
    if parameters.notebook:
        return resnet(
            parameters.depth,
            random_seed=parameters.random_seed,
            weight_decay=parameters.weight_decay,
            fused_batch_norm=fused_batch_norm,
            input_shape=input_shape,
            classes=classes,
        )
    return resnet(
        parameters.depth,
        random_seed=parameters.random_seed,
        projection=False,
        conv_bias=False,
        weight_decay=parameters.weight_decay,
        decay_dense=True,
        batch_norm_momentum=0.9,
        batch_norm_epsilon=1e-5,
        fused_batch_norm=fused_batch_norm,
        input_shape=input_shape,
        classes=classes,
    )


def pipelines(
    parameters: CutoutParameters, train_images: np.ndarray, *, as_pixels: bool = False
) -> tuple[Callable[..., Any], Callable[[Any], Any]]:
    """Return a function that makes training examples of uint8 images, and one that prepares images for evaluation.

    Notebook: pixels in [0, 1], for m=0 less the training set's per-pixel mean; for m >= 1 one mask per copy, drawn
    once for all epochs; then a shift of up to a tenth and a flip. Corrected: normalised channels, random crop of the
    zero-padded image, flip, then for m >= 1 a fresh mask. `as_pixels` takes the normalisation back at the end, for a
    network that scales pixels itself.
    """
    _, height, width, _ = train_images.shape
    length = parameters.mask_length(height, width)
    if not parameters.notebook:
        channel_mean, channel_std = channels(parameters, train_images)
        padding = min(height, width) // _PADDING_SHARE

        def for_network(normalised: Any) -> Any:
            return (normalised * channel_std + channel_mean) * 255.0 if as_pixels else normalised

        def corrected(images: Any, image: Any, copy: Any, draws: Any) -> Any:
            offsets = ops.cast(draws[:, 0:2] * (2 * padding + 1), "int32") if parameters.crop else None
            centres = ops.cast(draws[:, 3:5] * ops.array([height, width], "float32"), "int32") if parameters.m else None
            flips = draws[:, 2] < 0.5 if parameters.flip else None
            normalised = augment.corrected_pipeline(
                images, channel_mean, channel_std, offsets, flips, centres, length, padding
            )
            return for_network(normalised)

        return corrected, lambda images: for_network(augment.normalise(images, channel_mean, channel_std))

    mean = None if parameters.m else (train_images.mean(axis=0) / 255).astype("float32")

    def notebook(images: Any, image: Any, copy: Any, draws: Any) -> Any:
        centres = augment.frozen_centres(parameters.random_seed, image, copy, height, width) if parameters.m else None
        reach = ops.array([_SHIFT_SHARE * height, _SHIFT_SHARE * width], "float32")
        offsets = (2.0 * draws[:, 0:2] - 1.0) * reach
        return augment.notebook_pipeline(images, mean, centres, length, offsets, draws[:, 2] < 0.5)

    return notebook, lambda images: augment.scale(images, mean)


def channels(parameters: CutoutParameters, train_images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of the channels of training images, on the scale from 0 to 1."""
    if parameters.dataset in _NORMALISED_AS_CIFAR:
        return _CIFAR_CHANNELS
    pixels, values = train_images[..., 0].size, np.arange(256)
    counts = [np.bincount(train_images[..., c].reshape(-1), minlength=256) for c in range(train_images.shape[-1])]
    means = [float(count @ values) / pixels for count in counts]
    deviations = [
        math.sqrt(float(count @ np.square(values - mean)) / pixels) for count, mean in zip(counts, means, strict=True)
    ]
    return tuple(mean / 255 for mean in means), tuple((deviation or 255.0) / 255 for deviation in deviations)


def _optimizer(parameters: CutoutParameters) -> keras.optimizers.Optimizer:
    if parameters.notebook:
        return keras.optimizers.Adam(parameters.learning_rate)
    return keras.optimizers.SGD(parameters.learning_rate, momentum=_MOMENTUM)


def saved_model(
    parameters: CutoutParameters,
    trained: Any,
    train_images: np.ndarray,
    dataset: Dataset,
    own: OwnNetwork | None = None,
) -> SavedModel:
    """Make a model of plain Keras layers that takes pixels from 0 to 255, so that it loads without dlperf."""
    example = dataset.test_inputs[:2].astype("float32")
    if parameters.notebook:
        mean = np.zeros(train_images.shape[1:]) if parameters.m else train_images.mean(axis=0)
        normalise = keras.layers.Normalization(axis=(1, 2, 3), mean=mean, variance=np.full(mean.shape, 255.0**2))
    else:
        channel_mean, channel_std = channels(parameters, train_images)
        variance = np.square(np.multiply(channel_std, 255))
        normalise = keras.layers.Normalization(axis=-1, mean=np.multiply(channel_mean, 255), variance=variance)
    if own:
        return SavedModel(own.saved(normalise), example)
    plain = network(parameters, train_images.shape[1:], len(dataset.label_names), fused_batch_norm=False)
    plain.set_weights(trained.get_weights())
    return SavedModel(keras.Sequential([keras.Input(train_images.shape[1:]), normalise, plain]), example)
