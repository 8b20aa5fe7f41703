"""Which of TensorFlow's kernels compute: one set on every processor, unless the user has chosen."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.desk import ROOT

SHOW = "import os, dlperf; print(os.environ.get('TF_ENABLE_ONEDNN_OPTS'))"


@pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine != "x86_64", reason="TensorFlow has oneDNN on x86-64 Linux"
)
@pytest.mark.parametrize(("chosen", "used"), [({}, "1"), ({"TF_ENABLE_ONEDNN_OPTS": "0"}, "0")])
def test_onednn_computes_unless_the_user_says_no(chosen: dict[str, str], used: str) -> None:
    inherited = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    shown = subprocess.run(
        [sys.executable, "-c", SHOW], cwd=ROOT, env={**inherited, **chosen}, capture_output=True, text=True, check=True
    )
    assert shown.stdout == f"{used}\n"
