"""An optimizer's step for all variables at once, as one vector.

A step of Adam is some twenty operations per variable, and ResNet-44 has 178 variables: a third of all operations of a
training step, which have to be traced and started one by one. On one vector of all weights they are twenty operations;
element by element they compute the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf


class VectorUpdate:
    """Applies a Keras optimizer whose rule is the same for every weight (no clipping by variable, no LAMB or LARS).

    Attributes:
        size: Weights in all variables together.
    """

    def __init__(self, optimizer: keras.optimizers.Optimizer, variables: Sequence[keras.Variable]) -> None:
        """Build `optimizer`, which must not be built yet, for the vector."""
        self._optimizer, self._variables = optimizer, list(variables)
        self._sizes = [math.prod(v.shape) for v in self._variables]
        self.size = sum(self._sizes)
        self._vector = keras.Variable(tf.zeros([self.size]), name="weights")
        optimizer.build([self._vector])

    @staticmethod
    def vector(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
        """Lay tensors of the variables' shapes one behind the other: float32 (size,)."""
        return tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], 0)

    def apply(self, gradient: tf.Tensor) -> None:
        """Make one step; `gradient` is float32 (size,), in the order of the variables."""
        self._vector.assign(self.vector([v.value for v in self._variables]))
        self._optimizer.apply([gradient], [self._vector])
        for variable, values in zip(self._variables, tf.split(self._vector.value, self._sizes), strict=True):
            variable.assign(tf.reshape(values, variable.shape))
            if variable.constraint is not None:
                variable.assign(variable.constraint(variable))

    def state(self) -> dict[str, np.ndarray]:
        """Copy the optimizer's variables, by the position they would have had it been built for the variables."""
        scalars, vectors = self._scalars_and_vectors()
        arrays = [scalar.numpy() for scalar in scalars]
        parts = [np.split(vector.numpy(), np.cumsum(self._sizes)[:-1]) for vector in vectors]
        for i, variable in enumerate(self._variables):
            arrays.extend(part[i].reshape(variable.shape) for part in parts)
        return {f"optimizer_{i}": array for i, array in enumerate(arrays)}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Set what `state` copied."""
        scalars, vectors = self._scalars_and_vectors()
        for i, scalar in enumerate(scalars):
            scalar.assign(arrays[f"optimizer_{i}"])
        for i, vector in enumerate(vectors):
            places = range(len(scalars) + i, len(scalars) + len(self._variables) * len(vectors), len(vectors))
            vector.assign(np.concatenate([arrays[f"optimizer_{place}"].reshape(-1) for place in places]))

    def _scalars_and_vectors(self) -> tuple[list[keras.Variable], list[keras.Variable]]:
        """Iterations and learning rate, which come first, and what the rule keeps for every weight."""
        variables = self._optimizer.variables
        return [v for v in variables if not len(v.shape)], [v for v in variables if len(v.shape)]
