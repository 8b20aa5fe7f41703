"""The picture of the report's head, which names the report that it was taken of, so that an old one can be told."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

_PROGRAM = "chromium"
_SIZE = (1100, 900)
_MADE_OF = "made of"
_SECONDS = 120


def is_outdated(picture: Path, report: Path) -> bool:
    """Return whether the picture was not taken of this report."""
    try:
        with Image.open(picture) as opened:
            return opened.info.get(_MADE_OF) != _digest(report)
    except OSError:
        return True


def take(picture: Path, report: Path) -> str:
    """Take the picture.

    Returns:
        What kept it from being taken; "" if nothing did.
    """
    if not (program := shutil.which(_PROGRAM)):
        return f"{picture.name} is as it was: {_PROGRAM} is not on PATH"
    width, height = _SIZE
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={width},{height}")
    with tempfile.TemporaryDirectory() as folder:
        taken = Path(folder, "page.png")
        command = [program, *flags, f"--user-data-dir={folder}/profile", f"--screenshot={taken}", report.as_uri()]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=_SECONDS)
            with Image.open(taken) as opened:
                about = PngInfo()
                about.add_text(_MADE_OF, _digest(report))
                opened.convert("RGB").quantize(256).save(picture, optimize=True, pnginfo=about)
        except (OSError, subprocess.SubprocessError) as error:
            return f"{picture.name} is as it was: {error}"
    return ""


def _digest(report: Path) -> str:
    return hashlib.sha256(report.read_bytes()).hexdigest()
