"""Random bits as a hash of counters: no state, the same in any order and to the bit on every device and backend."""

from __future__ import annotations

from typing import Any

from keras import ops

# 2**32 divided by the golden ratio: keeps words that are all 0 off the fixed point of the finalizer.
_GOLDEN = 0x9E3779B9


def hashed(*words: Any) -> Any:
    """Return random bits that follow from integers, in 32-bit integer arithmetic.

    One round per word, on top of the last: neighbouring seeds, steps and positions share no structure.

    Args:
        words: Integers or integer tensors of shapes that broadcast; their lower 32 bits count, and their order.

    Returns:
        uint32 of the broadcast shape.
    """
    bits = ops.cast(0, "uint32")
    for word in words:
        bits = _finalized(bits + ops.cast(word, "uint32") + ops.cast(_GOLDEN, "uint32"))
    return bits


def _finalized(bits: Any) -> Any:
    """Finalizer of MurmurHash3 (Appleby, 32 bits): every input bit changes every output bit half of the time."""
    bits = ops.bitwise_xor(bits, ops.bitwise_right_shift(bits, ops.cast(16, "uint32")))
    bits = bits * ops.cast(0x85EBCA6B, "uint32")
    bits = ops.bitwise_xor(bits, ops.bitwise_right_shift(bits, ops.cast(13, "uint32")))
    bits = bits * ops.cast(0xC2B2AE35, "uint32")
    return ops.bitwise_xor(bits, ops.bitwise_right_shift(bits, ops.cast(16, "uint32")))
