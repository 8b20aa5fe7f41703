"""AdaGrad, RMSProp and Nadam as TensorFlow 2.3 computed them, with which the notebook was run.

Keras 3 moved epsilon under the root and lets Nadam's momentum rise 250 times faster; AdaDelta and Adam are the same.
The equations are those of TensorFlow 2.3's `tf.keras.optimizers`; w are the weights, g_t the gradient of step t.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


class Adagrad(keras.optimizers.Optimizer):
    """AdaGrad with epsilon outside the root.

    G_t = G_{t-1} + g_t^2
    w_t = w_{t-1} - learning_rate g_t / (sqrt(G_t) + epsilon)
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        name: str = "adagrad",
        **kwargs: Any,
    ) -> None:
        """Take the hyper-parameters.

        Args:
            learning_rate: Step size.
            initial_accumulator_value: G_0.
            epsilon: Added to the root.
            name: The optimizer's name.
            **kwargs: As `keras.optimizers.Optimizer` takes them.
        """
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.initial_accumulator_value, self.epsilon = initial_accumulator_value, epsilon

    def build(self, var_list: Any) -> None:
        """Create the sums of squares, float32 in the shapes of the variables."""
        if self.built:
            return
        super().build(var_list)
        (self._sums,) = self.add_optimizer_variables(
            var_list, ["sum"], initializer=keras.initializers.Constant(self.initial_accumulator_value)
        )

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable by its gradient."""
        rate, gradient = ops.cast(learning_rate, variable.dtype), ops.cast(gradient, variable.dtype)
        total = self._sums[self._get_variable_index(variable)]
        self.assign_add(total, ops.square(gradient))
        self.assign_sub(variable, rate * gradient / (ops.sqrt(total) + self.epsilon))

    def get_config(self) -> dict[str, Any]:
        """Return the configuration from which `from_config` makes the same optimizer."""
        own = {"initial_accumulator_value": self.initial_accumulator_value, "epsilon": self.epsilon}
        return {**super().get_config(), **own}


class RMSprop(keras.optimizers.Optimizer):
    """RMSProp with epsilon outside the root.

    r_t = rho r_{t-1} + (1 - rho) g_t^2
    w_t = w_{t-1} - learning_rate g_t / (sqrt(r_t) + epsilon)
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        rho: float = 0.9,
        epsilon: float = 1e-7,
        name: str = "rmsprop",
        **kwargs: Any,
    ) -> None:
        """Take the hyper-parameters.

        Args:
            learning_rate: Step size.
            rho: Decay of the mean squared gradient.
            epsilon: Added to the root.
            name: The optimizer's name.
            **kwargs: As `keras.optimizers.Optimizer` takes them.
        """
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.rho, self.epsilon = rho, epsilon

    def build(self, var_list: Any) -> None:
        """Create the mean squares, float32 zeros in the shapes of the variables."""
        if self.built:
            return
        super().build(var_list)
        (self._mean_squares,) = self.add_optimizer_variables(var_list, ["mean_square"])

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable by its gradient."""
        rate, gradient = ops.cast(learning_rate, variable.dtype), ops.cast(gradient, variable.dtype)
        mean_square = self._mean_squares[self._get_variable_index(variable)]
        self.assign(mean_square, self.rho * mean_square + (1 - self.rho) * ops.square(gradient))
        self.assign_sub(variable, rate * gradient / (ops.sqrt(mean_square) + self.epsilon))

    def get_config(self) -> dict[str, Any]:
        """Return the configuration from which `from_config` makes the same optimizer."""
        return {**super().get_config(), "rho": self.rho, "epsilon": self.epsilon}


class Nadam(keras.optimizers.Optimizer):
    """Nadam with Dozat's slow schedule of the momentum.

    mu_t = beta_1 (1 - 0.5 x 0.96^(0.004 t)), P_t = mu_1 ... mu_t
    m_t = beta_1 m_{t-1} + (1 - beta_1) g_t
    v_t = beta_2 v_{t-1} + (1 - beta_2) g_t^2
    n_t = mu_{t+1} m_t / (1 - P_{t+1}) + (1 - mu_t) g_t / (1 - P_t)
    w_t = w_{t-1} - learning_rate n_t / (sqrt(v_t / (1 - beta_2^t)) + epsilon)
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        schedule_decay: float = 0.004,
        name: str = "nadam",
        **kwargs: Any,
    ) -> None:
        """Take the hyper-parameters.

        Args:
            learning_rate: Step size.
            beta_1: Decay of the gradient's mean, and what the momentum rises to.
            beta_2: Decay of the squared gradient's mean.
            epsilon: Added to the root.
            schedule_decay: How fast the momentum rises, per step.
            name: The optimizer's name.
            **kwargs: As `keras.optimizers.Optimizer` takes them.
        """
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.beta_1, self.beta_2, self.epsilon, self.schedule_decay = beta_1, beta_2, epsilon, schedule_decay

    def build(self, var_list: Any) -> None:
        """Create the means, float32 zeros in the shapes of the variables, and the product of the momenta, 1."""
        if self.built:
            return
        super().build(var_list)
        self._product = self.add_variable((), initializer="ones", name="product_of_momenta")
        self._means, self._mean_squares = self.add_optimizer_variables(var_list, ["mean", "mean_square"])

    def apply(self, grads: Any, trainable_variables: Any = None) -> Any:
        """Apply the gradients; the product of the momenta goes on once a step, not once a variable."""
        if not self.built:
            self.build(trainable_variables)
        self.assign(self._product, self._product * self._momentum(ops.cast(self.iterations + 1, "float32")))
        return super().apply(grads, trainable_variables)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable by its gradient."""
        rate, gradient = ops.cast(learning_rate, variable.dtype), ops.cast(gradient, variable.dtype)
        index = self._get_variable_index(variable)
        mean, mean_square = self._means[index], self._mean_squares[index]
        step = ops.cast(self.iterations + 1, "float32")
        momentum, next_momentum = self._momentum(step), self._momentum(step + 1)
        product = ops.convert_to_tensor(self._product)
        self.assign(mean, self.beta_1 * mean + (1 - self.beta_1) * gradient)
        self.assign(mean_square, self.beta_2 * mean_square + (1 - self.beta_2) * ops.square(gradient))
        ahead = next_momentum / (1 - product * next_momentum) * mean + (1 - momentum) / (1 - product) * gradient
        corrected = mean_square / (1 - ops.power(self.beta_2, step))
        self.assign_sub(variable, rate * ahead / (ops.sqrt(corrected) + self.epsilon))

    def _momentum(self, step: Any) -> Any:
        return self.beta_1 * (1 - 0.5 * ops.power(0.96, self.schedule_decay * step))

    def get_config(self) -> dict[str, Any]:
        """Return the configuration from which `from_config` makes the same optimizer."""
        own = {"beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}
        return {**super().get_config(), **own, "schedule_decay": self.schedule_decay}
