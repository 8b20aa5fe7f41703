"""Our compiled epochs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.peer_ways.turns import Work, serve
from dlperf.process_settings import onednn


def _resnet(work: Work) -> Callable[[], Any]:
    from dlperf.problems.cutout.parameters import CutoutParameters
    from dlperf.problems.cutout.recipe import compiled_epoch

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (work.examples, 32, 32, 3), np.uint8)
    labels = rng.integers(0, 10, work.examples).astype("int32")
    given: dict[str, Any] = {
        "protocol": "corrected",
        "m": 1,
        "depth": work.depth,
        "threads": work.threads,
        "batch_size": 64,
    }
    return _epochs(compiled_epoch(CutoutParameters.resolve(given), images, labels))


def _mlp(work: Work) -> Callable[[], Any]:
    from benchmarks.optimizers import our_epoch

    return our_epoch(work.optimizer, work.dropout, work.examples, None)  # on the cores that it is pinned to


def _eggholder(work: Work) -> Callable[[], Any]:
    from dlperf.data import eggholder
    from dlperf.problems.approximators.parameters import ApproximatorsParameters
    from dlperf.problems.approximators.recipe import prepare

    given: dict[str, Any] = {
        "units": ",".join(map(str, work.units)),
        "threads": work.threads,
        "max_layers": 8,
        "max_units": 4096,
    }
    parameters = ApproximatorsParameters.resolve(given)
    return _epochs(prepare(parameters, eggholder.draw(0, continuous=False)).compiled)


def _epochs(compiled: Any) -> Callable[[], Any]:
    compiled.compile()
    numbers = itertools.count(1)
    return lambda: list(compiled.train_epoch(next(numbers)))


def _version() -> str:
    import tensorflow as tf

    import dlperf

    return f"dlperf {dlperf.__version__}, tensorflow {tf.__version__}"


if __name__ == "__main__":
    onednn.choose(None)  # before TensorFlow is loaded
    serve({"resnet44": _resnet, "mlp": _mlp, "eggholder": _eggholder}, _version)
