"""The notebook's way: Keras's `fit`; oneDNN as TensorFlow chooses (variant "default") or on (variant "onednn")."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.peer_ways.turns import Work, serve


def _prepared(work: Work) -> None:
    """Choose before TensorFlow is loaded, and set its threads."""
    os.environ.pop("TF_ENABLE_ONEDNN_OPTS", None)
    if work.variant == "onednn":
        os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(work.threads)
    tf.config.threading.set_inter_op_parallelism_threads(work.threads)


def _resnet(work: Work) -> Callable[[], Any]:
    _prepared(work)
    from benchmarks.training_speed import notebook_epoch

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (work.examples, 32, 32, 3), np.uint8)
    epoch = notebook_epoch(images, rng.integers(0, 10, work.examples).astype("int32"), work.depth, 1)
    return lambda: epoch(1)


def _mlp(work: Work) -> Callable[[], Any]:
    _prepared(work)
    from benchmarks.optimizers import notebook_epoch

    return notebook_epoch(work.optimizer, work.dropout, work.examples, None)


def _eggholder(work: Work) -> Callable[[], Any]:
    _prepared(work)
    import keras

    from dlperf.data import eggholder
    from dlperf.models.mlp import regression_mlp
    from dlperf.training.notebook_optimizers import Nadam

    drawn = eggholder.draw(0, continuous=False)
    model = regression_mlp(work.units, random_seed=0, fast_gradient=False)
    model.compile(Nadam(), "mse", metrics=[keras.metrics.RootMeanSquaredError("rmse")])
    return lambda: model.fit(drawn.train.inputs, drawn.train.targets, batch_size=1000, epochs=1, verbose=0)


def _version() -> str:
    import keras
    import tensorflow as tf

    return f"keras {keras.__version__}, tensorflow {tf.__version__}"


if __name__ == "__main__":
    serve({"resnet44": _resnet, "mlp": _mlp, "eggholder": _eggholder}, _version)
