"""RMSProp with Nesterov momentum, the optimizer Keras lacks."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


class RMSpropNesterov(keras.optimizers.Optimizer):
    """Nesterov momentum over steps that are divided by the root of the mean squared gradient.

    Goodfellow, Bengio, Courville 2016, "Deep Learning", algorithm 8.6; Hinton's lecture 6e advises the same: divide the
    correction by the RMS, not the jump. The algorithm takes the gradient at a look-ahead point w + momentum v; like
    Keras's SGD this class keeps that point as the weights (Bengio, Boulanger-Lewandowski, Pascanu 2012, section 3.5):

        r_t = rho r_{t-1} + (1 - rho) g_t^2
        v_t = momentum v_{t-1} - learning_rate g_t / sqrt(r_t + epsilon)
        w_t = w_{t-1} + momentum v_t - learning_rate g_t / sqrt(r_t + epsilon)

    Keras's `RMSprop(momentum=...)` is heavy-ball momentum: w_t = w_{t-1} + v_t.
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        rho: float = 0.9,
        momentum: float = 0.9,
        epsilon: float = 1e-7,
        name: str = "rmsprop_nesterov",
        **kwargs: Any,
    ) -> None:
        """Take the hyper-parameters.

        Args:
            learning_rate: Step size.
            rho: Decay of the mean squared gradient.
            momentum: Share of the last step that is kept.
            epsilon: Added to the mean square, under the root.
            name: The optimizer's name.
            **kwargs: As `keras.optimizers.Optimizer` takes them.
        """
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.rho, self.momentum, self.epsilon = rho, momentum, epsilon

    def build(self, var_list: Any) -> None:
        """Create the mean squares and the steps, float32 zeros in the shapes of the variables."""
        if self.built:
            return
        super().build(var_list)
        self._mean_squares, self._steps = self.add_optimizer_variables(var_list, ["mean_square", "step"])

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable by its gradient."""
        rate, gradient = ops.cast(learning_rate, variable.dtype), ops.cast(gradient, variable.dtype)
        index = self._get_variable_index(variable)
        mean_square, step = self._mean_squares[index], self._steps[index]
        self.assign(mean_square, self.rho * mean_square + (1 - self.rho) * ops.square(gradient))
        correction = rate * gradient / ops.sqrt(mean_square + self.epsilon)
        self.assign(step, self.momentum * step - correction)
        self.assign_add(variable, self.momentum * step - correction)

    def get_config(self) -> dict[str, Any]:
        """Return the configuration from which `from_config` makes the same optimizer."""
        return {**super().get_config(), "rho": self.rho, "momentum": self.momentum, "epsilon": self.epsilon}
