"""One image of any format that Pillow reads, as an array."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dlperf.data.refusal import Refusal
from dlperf.errors import one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray


def decoded(content: bytes | Path, place: str, size: int = 0) -> NDArray[np.uint8]:
    """Decode one image, upright as its camera says.

    Args:
        content: A PNG, JPEG or other file, or its path.
        place: How it is called, for the error.
        size: Side to bring it to: the largest square in its middle, resampled bilinearly; 0 leaves it as it is.

    Returns:
        uint8 (height, width, 3).

    Raises:
        Refusal: It is no image, or torn.
    """
    import PIL.Image
    import PIL.ImageOps

    try:
        with PIL.Image.open(io.BytesIO(content) if isinstance(content, bytes) else content) as image:
            upright = PIL.ImageOps.exif_transpose(image).convert("RGB")
            if size:
                upright = PIL.ImageOps.fit(upright, (size, size), PIL.Image.Resampling.BILINEAR)
            return np.asarray(upright)
    except Exception as error:  # a damaged file fails in many ways, from the header to a decoder
        raise Refusal(f"{place} cannot be read as an image ({one_line(error)})") from error
