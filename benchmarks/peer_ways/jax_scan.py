"""JAX: an epoch is one compiled `lax.scan` over its batches, whose state is donated; no dlperf here.

Its threads are those of the cores it is started on.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.peer_ways.turns import Work, serve

# (parameters, state of the update, gradients, number of the step from 1) -> parameters, state
Update = Callable[[Any, Any, Any, Any], tuple[Any, Any]]


def _epochs(
    loss: Callable[..., Any],
    start: Callable[[Any], Any],
    update: Update,
    parameters: Any,
    moving: Any,
    rows: int,
    batch: int,
) -> Callable[[], Any]:
    """Return what trains an epoch: shuffle, then one scan over the full batches.

    Args:
        loss: (parameters, moving statistics, rows, key) -> loss, moving statistics.
        start: Makes the update's state of the parameters.
        update: The update rule.
        parameters: Trained.
        moving: Moving statistics.
        rows: Examples.
        batch: Examples of a step.
    """
    steps = rows // batch

    def one_epoch(carried: Any, key: Any) -> tuple[Any, Any]:
        order = jax.random.permutation(key, rows)[: steps * batch].reshape(steps, batch)

        def one_step(state: Any, chosen: Any) -> tuple[Any, Any]:
            parameters, moving, updated, number = state
            drawn = jax.random.fold_in(key, number)
            (value, moving), gradients = jax.value_and_grad(loss, has_aux=True)(parameters, moving, chosen, drawn)
            parameters, updated = update(parameters, updated, gradients, number)
            return (parameters, moving, updated, number + 1), value

        carried, losses = lax.scan(one_step, carried, order)
        return carried, losses.mean()

    compiled = jax.jit(one_epoch, donate_argnums=0)
    carried = (parameters, moving, start(parameters), jnp.int32(1))
    keys = (jax.random.key(seed) for seed in itertools.count())

    def epoch() -> None:
        nonlocal carried
        carried, mean = compiled(carried, next(keys))
        mean.block_until_ready()

    return epoch


def _zeros(parameters: Any) -> Any:
    return jax.tree.map(jnp.zeros_like, parameters)


def _tenths(parameters: Any) -> Any:
    return jax.tree.map(lambda w: jnp.full_like(w, 0.1), parameters)


def _zeros_and_one(parameters: Any) -> Any:
    return _zeros(parameters), _zeros(parameters), jnp.float32(1)


def _adam(p: Any, state: Any, g: Any, t: Any) -> Any:
    m, v = state
    m = jax.tree.map(lambda a, b: 0.9 * a + 0.1 * b, m, g)
    v = jax.tree.map(lambda a, b: 0.999 * a + 0.001 * b * b, v, g)
    rate = 0.001 * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    return jax.tree.map(lambda w, a, b: w - rate * a / (jnp.sqrt(b) + 1e-7), p, m, v), (m, v)


def _adagrad(p: Any, state: Any, g: Any, t: Any) -> Any:
    total = jax.tree.map(lambda a, b: a + b * b, state, g)
    return jax.tree.map(lambda w, a, b: w - 0.001 * b / (jnp.sqrt(a) + 1e-7), p, total, g), total


def _nadam(p: Any, state: Any, g: Any, t: Any) -> Any:
    m, v, product = state
    now, ahead = (0.9 * (1 - 0.5 * 0.96 ** (0.004 * (t + k))) for k in (0, 1))
    product = product * now
    m = jax.tree.map(lambda a, b: 0.9 * a + 0.1 * b, m, g)
    v = jax.tree.map(lambda a, b: 0.999 * a + 0.001 * b * b, v, g)
    a, b, c = ahead / (1 - product * ahead), (1 - now) / (1 - product), 1 - 0.999**t
    stepped = jax.tree.map(lambda w, m, v, g: w - 0.001 * (a * m + b * g) / (jnp.sqrt(v / c) + 1e-7), p, m, v, g)
    return stepped, (m, v, product)


def _sgd(p: Any, state: Any, g: Any, t: Any) -> Any:
    velocity = jax.tree.map(lambda v, b, w: 0.9 * v + b + 1e-4 * w, state, g, p)
    return jax.tree.map(lambda w, v: w - 0.1 * v, p, velocity), velocity


def _glorot(rng: np.random.Generator, *shape: int) -> Any:
    limit = np.sqrt(6 / (shape[-2] + shape[-1]))
    return jnp.asarray(rng.uniform(-limit, limit, shape).astype("float32"))


def _entropy(logits: Any, labels: Any) -> Any:
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1).mean()


def _mlp(work: Work) -> Callable[[], Any]:
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.integers(0, 256, (work.examples, 3072), np.uint8))
    labels = jnp.asarray(rng.integers(0, 10, work.examples))
    widths = (3072, 1000, 1000, 10)
    parameters = [(_glorot(rng, a, b), jnp.zeros(b)) for a, b in itertools.pairwise(widths)]

    def loss(parameters: Any, moving: Any, chosen: Any, key: Any) -> Any:
        x = images[chosen].astype(jnp.float32) / 255
        if work.dropout:
            x = jnp.where(jax.random.bernoulli(key, 0.8, x.shape), x / 0.8, 0)
        for kernel, bias in parameters[:2]:
            x = jax.nn.relu(x @ kernel + bias)
        if work.dropout:
            x = jnp.where(jax.random.bernoulli(jax.random.fold_in(key, 1), 0.5, x.shape), x / 0.5, 0)
        logits = x @ parameters[2][0] + parameters[2][1]
        return _entropy(logits, labels[chosen]) + 0.01 * sum(
            (w**2).sum() for w in jax.tree.leaves(parameters[:2])
        ), moving

    if work.optimizer == "adam":
        return _epochs(loss, lambda p: (_zeros(p), _zeros(p)), _adam, parameters, (), work.examples, 128)
    return _epochs(loss, _tenths, _adagrad, parameters, (), work.examples, 128)


def _normalise(x: Any, norm: Any, axes: Sequence[int], epsilon: float) -> tuple[Any, Any, Any]:
    mean, variance = x.mean(axes), x.var(axes)
    return (x - mean) * (norm[0] * lax.rsqrt(variance + epsilon)) + norm[1], mean, variance


def _eggholder(work: Work) -> Callable[[], Any]:
    rng = np.random.default_rng(0)
    points = rng.integers(-512, 513, (work.examples, 2)).astype("float32")
    x, y = points[:, 0], points[:, 1] + 47
    values = -y * np.sin(np.sqrt(np.abs(x / 2 + y))) - x * np.sin(np.sqrt(np.abs(x - y)))
    inputs, targets = jnp.asarray(points), jnp.asarray(values.astype("float32"))
    widths = (2, *work.units, 1)
    layers = [(_glorot(rng, a, b), jnp.zeros(b)) for a, b in itertools.pairwise(widths)]
    norms = [(jnp.ones(a), jnp.zeros(a)) for a in work.units[:-1]]

    def loss(parameters: Any, moving: Any, chosen: Any, key: Any) -> Any:
        layers, norms = parameters
        x, kept = inputs[chosen], []
        for i, (kernel, bias) in enumerate(layers):
            if 0 < i < len(layers) - 1:
                x, mean, variance = _normalise(x, norms[i - 1], (0,), 1e-3)
                kept.append(tuple(0.99 * a + 0.01 * b for a, b in zip(moving[i - 1], (mean, variance), strict=True)))
            x = x @ kernel + bias
            if i < len(layers) - 1:
                x = jax.nn.relu(x)
        return ((x[:, 0] - targets[chosen]) ** 2).mean(), kept

    moving = [(jnp.zeros(a), jnp.ones(a)) for a in work.units[:-1]]
    return _epochs(loss, _zeros_and_one, _nadam, (layers, norms), moving, work.examples, 1000)


def _resnet(work: Work) -> Callable[[], Any]:
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.integers(0, 256, (work.examples, 32, 32, 3), np.uint8))
    labels = jnp.asarray(rng.integers(0, 10, work.examples))
    blocks = (work.depth - 2) // 6
    widths = [3] + [16] * (2 * blocks + 1) + [32] * 2 * blocks + [64] * 2 * blocks

    def he(a: int, b: int) -> Any:
        return jnp.asarray(rng.normal(0, np.sqrt(2 / (9 * a)), (3, 3, a, b)).astype("float32"))

    kernels = [he(a, b) for a, b in itertools.pairwise(widths)]
    norms = [(jnp.ones(a), jnp.zeros(a)) for a in widths[1:]]
    dense = (_glorot(rng, 64, 10), jnp.zeros(10))
    mean, std = np.array([0.49, 0.48, 0.45], "float32"), np.array([0.25, 0.24, 0.26], "float32")

    def augmented(batch: Any, key: Any) -> Any:
        """Normalise, crop from 4 padded pixels, flip, cut out a square of 16."""
        padded = jnp.pad((batch.astype(jnp.float32) / 255 - mean) / std, ((0, 0), (4, 4), (4, 4), (0, 0)))
        count = len(batch)
        keys = jax.random.split(key, 3)
        offsets, centres = (
            jax.random.randint(keys[0], (2, count, 1), 0, 9),
            jax.random.randint(keys[1], (2, count, 1), 0, 32),
        )
        y, x = offsets[0] + jnp.arange(32), offsets[1] + jnp.arange(32)
        x = jnp.where(jax.random.bernoulli(keys[2], 0.5, (count, 1)), x[:, ::-1], x)
        cropped = padded[jnp.arange(count)[:, None, None], y[:, :, None], x[:, None, :]]
        inside = (jnp.arange(32) >= centres - 8) & (jnp.arange(32) < centres + 8)
        return jnp.where((inside[0][:, :, None] & inside[1][:, None, :])[..., None], 0.0, cropped)

    def loss(parameters: Any, moving: Any, chosen: Any, key: Any) -> Any:
        kernels, norms, dense = parameters
        kept = []

        def convolved(x: Any, place: int, strides: int) -> Any:
            x = lax.conv_general_dilated(
                x, kernels[place], (strides, strides), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            x, mean, variance = _normalise(x, norms[place], (0, 1, 2), 1e-5)
            kept.append(tuple(0.9 * a + 0.1 * b for a, b in zip(moving[place], (mean, variance), strict=True)))
            return x

        x = jax.nn.relu(convolved(augmented(images[chosen], key), 0, 1))
        for place in range(1, len(kernels), 2):
            added = widths[place + 1] - widths[place]
            y = jax.nn.relu(convolved(x, place, 2 if added else 1))
            y = convolved(y, place + 1, 1)
            if added:
                x = jnp.pad(x[:, ::2, ::2], ((0, 0), (0, 0), (0, 0), (added // 2, added - added // 2)))
            x = jax.nn.relu(x + y)
        return _entropy(x.mean((1, 2)) @ dense[0] + dense[1], labels[chosen]), kept

    moving = [(jnp.zeros(a), jnp.ones(a)) for a in widths[1:]]
    return _epochs(loss, _zeros, _sgd, (kernels, norms, dense), moving, work.examples, 64)


if __name__ == "__main__":
    serve({"resnet44": _resnet, "mlp": _mlp, "eggholder": _eggholder}, lambda: f"jax {jax.__version__}")
