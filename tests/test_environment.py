"""What a run records of its surroundings; on a GPU by a made list of devices: none has been tried."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import platformdirs
import pytest

from dlperf import environment
from dlperf.cli import entry_point
from dlperf.errors import TrialFailed
from dlperf.process_settings import onednn, xla_cache
from dlperf.training import compiled_epoch
from dlperf.trial import Context

NAME = "A GPU of 80 GB"


@pytest.mark.parametrize(
    ("visible", "count"),
    [("", 0), ("-1", 0), ("0", 1), ("0, 2", 2), ("GPU-1f,MIG-2/3/4", 2), ("1,-1,2", 1), ("NoDevFiles", 0)],
)
def test_visible_gpus_are_counted_as_cuda_does(monkeypatch: pytest.MonkeyPatch, visible: str, count: int) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert environment.gpu_count() == count


@pytest.mark.parametrize("visible", ["foo", "0;1", "1.5", "-2"])
def test_what_names_no_gpu_is_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], visible: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert entry_point("optimizers", ["--dry_run", "true"]) == 2
    assert capsys.readouterr().err.startswith(f"dlperf optimizers: CUDA_VISIBLE_DEVICES={visible}: must be numbers")


def test_settings_are_the_user_s_and_not_what_dlperf_has_chosen_since(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(tmp_path))
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    for name in [name for name in os.environ if name.startswith(("TF_", "XLA_", "OMP_", "KERAS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XLA_FLAGS", "--a=1")
    for flags in ("", "--tf_xla_auto_jit=1"):
        for setting in (None, "0"):
            monkeypatch.setattr(onednn, "_chosen", None)
            monkeypatch.setattr(onednn, "_setting_before", None)
            monkeypatch.setenv(xla_cache.VARIABLE, flags)
            monkeypatch.setenv(onednn.VARIABLE, setting or "")
            if setting is None:
                monkeypatch.delenv(onednn.VARIABLE)
            users = environment.settings()
            onednn.choose("on")
            xla_cache.use(1)
            assert (os.environ[onednn.VARIABLE], str(tmp_path) in os.environ[xla_cache.VARIABLE]) == ("1", True)
            assert environment.settings() == users
            expected = {"XLA_FLAGS": "--a=1", onednn.VARIABLE: setting, xla_cache.VARIABLE: flags or None}
            assert users == {name: value for name, value in expected.items() if value is not None}


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """TensorFlow, which sees a GPU; whether operations are deterministic is what `deterministic` says."""
    import tensorflow as tf
    from tensorflow.python.framework import config

    device = SimpleNamespace(name="/physical_device:GPU:0", device_type="GPU")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: [device])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda _: {"device_name": NAME})
    asked = SimpleNamespace(deterministic=False)
    monkeypatch.setattr(config, "is_op_determinism_enabled", lambda: asked.deterministic)
    tf32 = tf.config.experimental.tensor_float_32_execution_enabled()
    yield asked
    tf.config.experimental.enable_tensor_float_32_execution(tf32)


def test_precision_and_tf32_are_recorded(gpu: Any) -> None:
    import tensorflow as tf

    for on in (True, False):
        tf.config.experimental.enable_tensor_float_32_execution(on)
        as_set = f"{NAME}, float32, TF32 {'on' if on else 'off'}, operations not deterministic"
        assert environment.gpus_as_set() == [as_set]
        assert environment.hardware().startswith(f"{as_set}; ")
        assert environment.describe()["precision"] in as_set
        assert environment.describe()["gpus"] == [NAME]
    gpu.deterministic = True
    assert environment.precision().endswith("operations deterministic")


def test_a_trial_makes_operations_deterministic_and_keeps_the_graph_optimizer(
    gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    called: list[str] = []
    monkeypatch.setattr(compiled_epoch, "_runtime_threads", None)
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: called.append("deterministic"))
    for name in ("set_intra_op_parallelism_threads", "set_inter_op_parallelism_threads"):
        monkeypatch.setattr(tf.config.threading, name, lambda _: None)
    options: list[dict[str, bool]] = []
    monkeypatch.setattr(tf.config.optimizer, "set_experimental_options", options.append)
    compiled_epoch.configure_runtime(2)
    assert (called, options) == (["deterministic"], [])
    with compiled_epoch.graph_optimizer(on=False):
        assert options == [{"disable_meta_optimizer": False}]


def test_a_state_of_another_gpu_or_setting_is_refused(gpu: Any) -> None:
    """Bits are promised on the same GPU with deterministic operations alone."""
    report: Any = None
    context = Context("a trial", report, curve_follows_from={"data": "x"})
    gpu.deterministic = True
    made_with = context.state_follows_from
    context.check_state(made_with)
    gpu.deterministic = False
    with pytest.raises(TrialFailed, match=r"operations deterministic.*operations not deterministic.* another curve"):
        context.check_state(made_with)
    with pytest.raises(TrialFailed, match=r"made with gpus=\[\]"):
        context.check_state({"data": "x", "gpus": []})
