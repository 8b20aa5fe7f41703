"""What has no closed form: whether it has products at all, by the graph that it makes, and how many, by its program."""

from __future__ import annotations

import re
from typing import Any

import tensorflow as tf

from dlperf.keras_accounting.calls import Call, TensorArgument
from dlperf.keras_accounting.compiled_program import multiplications, program_text, selections
from dlperf.keras_accounting.hlo import parsed

# TensorFlow's operations that are, or may hold, sums of products: products of matrices, convolutions, solvers and
# transforms, recurrent kernels, and what runs another graph or code of the user's. All others are elementwise,
# reductions, comparisons, look-ups, conversions or changes of shape.
_MAY_HAVE_PRODUCTS = re.compile(
    r"MatMul|Einsum|Dot(?!Dash)|Conv(?!ert)|Cholesky|Solve|Inverse(?!Gamma)|Determinant|Qr$|Svd|Eig|Lu$|FFT|"
    r"MatrixExponential|MatrixLogarithm|MatrixSquareRoot|LSTM|GRU|RNN|CTC|Lanczos|Tridiagonal|Dilation2D|"
    r"Call(?!back)|While|^If$|StatelessIf|Case|PyFunc|EagerPyFunc|Xla|Custom|RemoteCall|MapDefun|^Batch(Function)?$|"
    r"Scan|For$|Fused(?!BatchNorm)|Quantized|^_|Tpu|TPU|Infeed|Execute|"
    r"Fft|AudioSpectrogram|AudioMicrofrontend|Mfcc|NearestNeighbors|SymbolicGradient|Sdca"
)


def may_have_products(call: Call) -> bool:
    """Whether a call made operations itself, not through those inside it, that may multiply and add."""
    return any(_MAY_HAVE_PRODUCTS.search(kind) for kind in call.graph_types)


class Measured:
    """Counts calls by compiling each by itself; a layer that is called again on equal shapes is compiled once."""

    def __init__(self) -> None:
        """Begin without any."""
        self._known: dict[Any, int | None] = {}

    def __call__(self, call: Call) -> int | None:
        """Return the multiplications of one call, those inside it included; None where nothing says them."""
        key = (id(call.operation), str(call.arguments_as(_described)))
        if key not in self._known:
            self._known[key] = _multiplications(call)
        return self._known[key]


def _multiplications(call: Call) -> int | None:
    traced = [tensor for tensor in call.tensors if tensor.is_traced]
    if any(None in tensor.shape for tensor in traced):
        return None
    examples = [tf.zeros(tensor.shape, tensor.value.dtype) for tensor in traced]

    def alone(*tensors: tf.Tensor) -> Any:
        given = iter(tensors)

        args, kwargs = call.arguments_as(lambda each: next(given) if each.is_traced else each.value)
        return call.operation(*args, **kwargs)

    function = tf.function(alone, jit_compile=True, autograph=False)
    try:
        graph = function.get_concrete_function(*examples).graph
        text = program_text(function, *examples)
    except Exception:  # whatever a user's own layer raises when it is called by itself
        return None
    return multiplications(parsed(text), selections(graph))


def _described(tensor: TensorArgument) -> Any:
    return (tensor.shape, str(tensor.value.dtype)) if tensor.is_traced else id(tensor.value)
