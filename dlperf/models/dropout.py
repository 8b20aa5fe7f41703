"""Dropout whose masks are a hash of the step, for programs that XLA compiles."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from dlperf.counter_hash import hashed


class HashedDropout(keras.layers.Layer):
    """Sets units to 0 with a probability and scales the others up, so that nothing is left to scale in inference.

    Srivastava et al. 2014, "Dropout", section 4; scaling in training instead of the weights at test time is "inverted
    dropout", which is what Keras does too. Keras's generator took most of the time of an XLA-compiled step; a hash of
    (seed, step, position) costs next to nothing and leaves no state to restore.
    """

    def __init__(self, rate: float, seed: int, step: Callable[[], Any]) -> None:
        """Take what the masks follow from.

        Args:
            rate: Probability of 0, at least 0 and below 1.
            seed: 0 to 2**32 - 1; a different one for every layer.
            step: Returns the number of the step, an integer tensor.

        Raises:
            ValueError: If rate is not such a probability.
        """
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"rate={rate}: a probability of at least 0 and below 1 is needed")
        self._rate, self._hash_seed, self._step = rate, seed, step
        self._dropping: Callable[[Any], Any] = self._dropped

    def compute_with(self, compiled: Callable[[Callable[[Any], Any]], Callable[[Any], Any]]) -> None:
        """Let a compiler fuse the hash where nothing compiles the whole program.

        Args:
            compiled: Makes a compiled function of a function of the inputs.
        """
        self._dropping = compiled(self._dropped)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Return float32 like the inputs (batch, ...), whose shape has to be known when a program is traced."""
        if not training or self._rate == 0:
            return inputs
        return self._dropping(inputs)

    def _dropped(self, inputs: Any) -> Any:
        position = ops.reshape(ops.arange(math.prod(inputs.shape), dtype="int32"), inputs.shape)
        bits = hashed(self._hash_seed, self._step(), position)
        kept = bits >= ops.cast(round(self._rate * 2**32), "uint32")
        return ops.where(kept, inputs * (1.0 / (1.0 - self._rate)), 0.0)
