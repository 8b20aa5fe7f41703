"""Files of Keras models, as people have them."""

from __future__ import annotations

import runpy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from dlperf.errors import BadInput
from dlperf.models.model_file import loaded
from dlperf.models.reference import ModelReference

OWN = """
import keras

@keras.saving.register_keras_serializable(package="own")
class Scaled(keras.layers.Layer):
    def call(self, inputs):
        return inputs * 2
"""


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """The model that was loaded last is not taken for the next test's."""
    loaded.cache_clear()
    yield
    loaded.cache_clear()
    keras.saving.get_custom_objects().pop("own>Scaled", None)


def load(file: Path, custom: str = "", unsafe: bool = False) -> keras.Model:
    return loaded(ModelReference("subject", f"keras:{file}"), custom, unsafe)


def saved(file: Path, layer: Any = None) -> Path:
    inputs = keras.Input((3,))
    keras.Model(inputs, (layer or layers.Dense(2))(inputs)).save(file)
    return file


@pytest.mark.parametrize("ending", [".keras", ".h5"])
@pytest.mark.parametrize("name", ["model{}", "MODEL{}", "without", "größe, zwei{}", "other.bin"])
def test_the_content_says_which_kind_a_file_is(tmp_path: Path, ending: str, name: str) -> None:
    source = saved(tmp_path / f"source{ending}")
    ending = ending.upper() if name.isupper() else ending
    file = Path(shutil.copy(source, tmp_path / name.format(ending)))
    assert load(file).count_params() == 3 * 2 + 2


def test_hdf5_of_older_versions_is_read(tmp_path: Path) -> None:
    """Keras 2 wrote the same layout with other names in the configuration (batch_input_shape)."""
    import json

    import h5py

    file = saved(tmp_path / "old.h5")
    with h5py.File(file, "r+") as content:
        config = json.loads(content.attrs["model_config"])
        for layer in config["config"]["layers"]:
            if layer["class_name"] == "InputLayer":
                layer["config"]["batch_input_shape"] = layer["config"].pop("batch_shape")
        content.attrs["model_config"] = json.dumps(config)
        content.attrs["keras_version"] = "2.12.0"
    assert load(file).count_params() == 8


def test_what_is_no_model_is_said_with_what_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.keras").write_text("no model")
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    model.save_weights(tmp_path / "only.weights.h5")
    for file, words in (
        (Path("none.keras"), f"there is no such file: looked for {tmp_path}/none.keras"),
        (tmp_path / "none.keras", "there is no such file"),
        (tmp_path, "is a folder; files that can be read: .keras and .h5"),
        (tmp_path / "text.keras", "is neither a .keras archive nor HDF5; files that can be read"),
        (tmp_path / "only.weights.h5", "holds weights and no model; model.save writes both"),
    ):
        with pytest.raises(BadInput) as raised:
            load(file)
        assert words in str(raised.value)
        assert "\n" not in str(raised.value)


def test_a_class_of_ones_own_is_named_and_imported_from_a_file_or_a_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "own_layers.py"
    module.write_text(OWN)
    saved(tmp_path / "own.keras", runpy.run_path(str(module))["Scaled"]())
    keras.saving.get_custom_objects().pop("own>Scaled")
    (tmp_path / "other.py").write_text("")
    with pytest.raises(BadInput, match="needs the class or function Scaled, which is not Keras's: give custom=MODULE"):
        load(tmp_path / "own.keras")
    with pytest.raises(BadInput, match=r"needs .* Scaled, .*other.py does not register it"):
        load(tmp_path / "own.keras", str(tmp_path / "other.py"))
    assert type(load(tmp_path / "own.keras", str(module)).layers[-1]).__name__ == "Scaled"
    keras.saving.get_custom_objects().pop("own>Scaled")
    loaded.cache_clear()
    monkeypatch.syspath_prepend(tmp_path)
    assert type(load(tmp_path / "own.keras", "own_layers").layers[-1]).__name__ == "Scaled"


def test_a_module_that_cannot_be_imported_is_said(tmp_path: Path) -> None:
    file = saved(tmp_path / "model.keras")
    (tmp_path / "wrong.py").write_text("import no_such_module")
    (tmp_path / "ends.py").write_text("raise SystemExit(7)")
    for custom, words in (
        ("no_such_module", "cannot be imported: ModuleNotFoundError: No module named 'no_such_module'"),
        (f"{tmp_path}/none.py", f"there is no such file: looked for {tmp_path}/none.py"),
        (f"{tmp_path}/wrong.py", "cannot be imported: ModuleNotFoundError"),
        (f"{tmp_path}/ends.py", "cannot be imported: SystemExit: 7"),
    ):
        loaded.cache_clear()
        with pytest.raises(BadInput) as raised:
            load(file, custom)
        assert str(raised.value).startswith(f"custom={custom}: {words}")


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_code_in_a_file_is_run_only_where_it_is_asked_for(tmp_path: Path, ending: str) -> None:
    file = saved(tmp_path / f"lambda{ending}", layers.Lambda(lambda x: x * 2, output_shape=(3,)))
    with pytest.raises(BadInput, match="has a Lambda layer that is Python code in the file: unsafe=true loads it"):
        load(file)
    assert np.allclose(load(file, unsafe=True)(np.ones((1, 3))), 2)
