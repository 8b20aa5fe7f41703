"""CIFAR-10: the layout, the refusals, the order in which places are tried, and the real images."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlperf import data
from dlperf.data import cifar_search, download
from dlperf.data.cifar import read_records
from dlperf.data.cifar_layout import CIFAR10
from dlperf.errors import BadInput, EnvironmentMissing


@pytest.fixture(autouse=True)
def _no_data_dir_in_the_environment(request, monkeypatch):
    if request.node.get_closest_marker("cifar10") is None:
        monkeypatch.delenv("DLPERF_DATA_DIR", raising=False)


@pytest.fixture
def no_network(monkeypatch):
    def refuse(archive, folder, timeout=0.0):
        raise EnvironmentMissing("there is no network")

    monkeypatch.setattr(download, "fetch", refuse)


@pytest.fixture
def one_file(tmp_path, monkeypatch):
    """A valid file of seven records whose labels are 0 to 6."""
    resize(monkeypatch, 7)
    path = tmp_path / "data_batch_3.bin"
    path.write_bytes(b"".join(bytes([label]) + bytes([label * 30]) * 3072 for label in range(7)))
    return path


def resize(patch: pytest.MonkeyPatch, per_file: int) -> None:
    """Let files of few records be whole ones."""
    patch.setattr(CIFAR10, "train_examples", 5 * per_file)
    patch.setattr(CIFAR10, "test_examples", per_file)


def find(data_dir: str | Path) -> Path:
    return cifar_search.find(CIFAR10, data_dir).path


def write(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """Write six files the slow way: pixel by pixel as the published page describes the layout."""
    folder.mkdir(parents=True)
    per_file = len(images) // len(CIFAR10.binary_files)
    for number, file in enumerate(CIFAR10.binary_files):
        content = bytearray()
        for image, label in zip(images[number * per_file :][:per_file], labels[number * per_file :], strict=False):
            content.append(int(label))
            for channel in range(3):
                for row in range(32):
                    content.extend(int(image[row, column, channel]) for column in range(32))
        (folder / file).write_bytes(content)


class TestLayout:
    @settings(max_examples=10)
    @given(per_file=st.integers(1, 2), random_seed=st.integers(0, 2**32 - 1))
    def test_records_written_are_read_back_exactly(self, per_file, random_seed):
        draw = np.random.default_rng(random_seed)
        images = draw.integers(0, 256, (6 * per_file, 32, 32, 3), dtype=np.uint8)
        labels = draw.integers(0, 10, 6 * per_file).astype(np.int32)
        with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            resize(patch, per_file)
            write(Path(folder, CIFAR10.binary_folder), images, labels)
            data.check("cifar10", folder, 0)
            dataset = data.load("cifar10", folder)
        np.testing.assert_array_equal(dataset.train_inputs, images[: 5 * per_file])
        np.testing.assert_array_equal(dataset.train_labels, labels[: 5 * per_file])
        np.testing.assert_array_equal(dataset.test_inputs, images[5 * per_file :])
        np.testing.assert_array_equal(dataset.test_labels, labels[5 * per_file :])

    def test_keeps_the_contract(self, tiny_cifar10):
        dataset = data.load("cifar10", tiny_cifar10(records=3))
        assert (dataset.train_inputs.shape, dataset.train_inputs.dtype) == ((15, 32, 32, 3), np.uint8)
        assert (dataset.train_labels.shape, dataset.train_labels.dtype) == ((15,), np.int32)
        assert (dataset.test_inputs.shape, dataset.test_labels.shape) == ((3, 32, 32, 3), (3,))
        assert dataset.name == "cifar10"
        assert dataset.label_names[0] == "airplane"
        assert len(dataset.label_names) == 10
        assert len(dataset.digest) == 16
        assert set(dataset.digest) <= set("0123456789abcdef")

    def test_is_loaded_once_and_cannot_be_written(self, tiny_cifar10):
        folder = tiny_cifar10()
        dataset = data.load("cifar10", folder)
        assert data.load("cifar10", str(folder / CIFAR10.binary_folder)) is dataset
        with pytest.raises(ValueError, match="read-only"):
            dataset.train_inputs[0] = 0

    def test_digest_follows_the_content_alone(self, tiny_cifar10, tmp_path):
        folder = tiny_cifar10(records=2)
        digest = data.load("cifar10", folder).digest
        copy = tmp_path / "copy"
        copy.mkdir()
        for file in CIFAR10.binary_files:
            (copy / file).write_bytes((folder / CIFAR10.binary_folder / file).read_bytes())
        assert data.load("cifar10", copy).digest == digest
        changed = bytearray((copy / "test_batch.bin").read_bytes())
        changed[-1] ^= 1
        other = tmp_path / "other"
        copy.rename(other)
        (other / "test_batch.bin").write_bytes(changed)
        assert data.load("cifar10", other).digest != digest


class TestBadFiles:
    @given(removed=st.integers(1, 7 * 3073))
    def test_a_file_truncated_by_any_number_of_bytes_is_refused(self, removed):
        with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            resize(patch, 7)
            path = Path(folder, "data_batch_1.bin")
            path.write_bytes(bytes(7 * 3073 - removed))
            with pytest.raises(BadInput) as caught:
                read_records(CIFAR10, path)
        assert (caught.value.parameter, caught.value.value) == ("data_dir", path)
        assert f"has {7 * 3073 - removed:,} bytes" in caught.value.allowed
        assert "must be 7 records of 3,073 bytes = 21,511 bytes" in caught.value.allowed

    @pytest.mark.parametrize("added", [1, 3073])
    def test_a_file_that_is_too_long_is_refused(self, one_file, added):
        one_file.write_bytes(one_file.read_bytes() + bytes(added))
        with pytest.raises(BadInput, match="must be 7 records"):
            read_records(CIFAR10, one_file)

    @given(label=st.integers(10, 255), record=st.integers(0, 6))
    def test_a_label_above_nine_is_refused(self, label, record):
        with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            resize(patch, 7)
            content = bytearray(b"\xff" * (7 * 3073))
            content[::3073] = bytes(range(7))
            path = Path(folder, "test_batch.bin")
            path.write_bytes(content)
            assert read_records(CIFAR10, path) == content
            content[record * 3073] = label
            path.write_bytes(content)
            with pytest.raises(BadInput) as caught:
                read_records(CIFAR10, path)
        assert caught.value.value == path
        assert caught.value.allowed == f"has label {label} in record {record}, must be 0 to 9"

    @pytest.mark.parametrize("file", CIFAR10.binary_files)
    def test_check_looks_into_every_file(self, tiny_cifar10, file):
        folder = tiny_cifar10()
        path = folder / CIFAR10.binary_folder / file
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(BadInput) as caught:
            data.check("cifar10", folder, 0)
        assert caught.value.value == path
        assert len(str(caught.value).splitlines()) == 1

    def test_a_file_that_cannot_be_read_is_refused(self, one_file):
        one_file.unlink()
        with pytest.raises(BadInput, match="cannot be read"):
            read_records(CIFAR10, one_file)


class TestLookup:
    def test_the_folder_itself_or_its_parent(self, tiny_cifar10):
        parent = tiny_cifar10()
        assert find(parent) == find(str(parent / CIFAR10.binary_folder)) == parent / CIFAR10.binary_folder

    def test_a_path_relative_to_the_working_directory_or_home(self, tiny_cifar10, monkeypatch):
        parent = tiny_cifar10()
        monkeypatch.chdir(parent.parent)
        monkeypatch.setenv("HOME", str(parent.parent))
        assert find(parent.name) == find(f"~/{parent.name}") == parent / CIFAR10.binary_folder

    @pytest.mark.usefixtures("no_network")
    def test_the_parameter_then_the_environment_then_the_cache(self, tiny_cifar10, tmp_path, monkeypatch):
        by_parameter, by_environment, cached = (
            tiny_cifar10(random_seed=seed) / CIFAR10.binary_folder for seed in range(3)
        )
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setenv("DLPERF_DATA_DIR", str(by_environment))
        cifar_search.cache_folder(CIFAR10).parent.mkdir(parents=True)
        cached.rename(cifar_search.cache_folder(CIFAR10))
        assert find(by_parameter) == by_parameter
        assert find("") == by_environment
        monkeypatch.setenv("DLPERF_DATA_DIR", "")
        assert find("") == cifar_search.cache_folder(CIFAR10)
        monkeypatch.setenv("DLPERF_DOWNLOAD_DIR", str(by_environment.parent))
        assert find("") == cifar_search.cache_folder(CIFAR10) == by_environment

    def test_a_folder_for_downloads_that_cannot_be_written_is_named(self, monkeypatch):
        monkeypatch.setenv("DLPERF_DATA_DIR", "")
        monkeypatch.setenv("DLPERF_DOWNLOAD_DIR", "/dev/null/x")
        with pytest.raises(BadInput, match=r"^DLPERF_DOWNLOAD_DIR=/dev/null/x: must be a folder that can be written"):
            find("")

    @pytest.mark.parametrize("given", ["missing", "empty", "a-file", "null\0byte", "x" * 5000])
    def test_a_data_dir_without_data_is_refused_whatever_else_there_is(
        self, tiny_cifar10, tmp_path, monkeypatch, given
    ):
        monkeypatch.setenv("DLPERF_DATA_DIR", str(tiny_cifar10()))
        (tmp_path / "empty").mkdir()
        (tmp_path / "a-file").touch()
        monkeypatch.chdir(tmp_path)
        with pytest.raises(BadInput) as caught:
            data.check("cifar10", given, 0)
        assert (caught.value.parameter, caught.value.value) == ("data_dir", given)
        assert (
            "must be a folder that holds cifar-10-batches-bin/, cifar-10-batches-py/, one of their archives"
            in caught.value.allowed
        )

    def test_a_missing_file_is_named(self, tiny_cifar10):
        folder = tiny_cifar10()
        (folder / CIFAR10.binary_folder / "data_batch_4.bin").unlink()
        with pytest.raises(BadInput, match=r"lacks data_batch_4\.bin, must be"):
            data.check("cifar10", folder, 0)

    def test_an_environment_variable_without_data_is_refused_by_its_name(self, tmp_path, monkeypatch):
        monkeypatch.setenv("DLPERF_DATA_DIR", str(tmp_path))
        with pytest.raises(BadInput) as caught:
            find("")
        assert (caught.value.parameter, caught.value.value) == ("DLPERF_DATA_DIR", str(tmp_path))

    @pytest.mark.usefixtures("no_network")
    def test_without_network_and_data_one_line_says_what_to_do(self, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        with pytest.raises(EnvironmentMissing) as caught:
            data.check("cifar10", "", 0)
        message = str(caught.value)
        assert caught.value.exit_status == 3
        assert len(message.splitlines()) == 1
        for advice in (
            "there is no network",
            "dataset=digits",
            str(cifar_search.cache_folder(CIFAR10)),
            "data_dir",
            "DLPERF_DATA",
        ):
            assert advice in message


class TestCheck:
    @pytest.mark.parametrize("name", ["", "CIFAR10", "mnist"])
    def test_an_unknown_name_is_refused(self, name):
        for call in (data.facts, data.load, lambda name: data.check(name, "", 0)):
            with pytest.raises(BadInput, match="must be one of cifar10, cifar100, fashion_mnist, digits") as caught:
                call(name)
            assert caught.value.parameter == "dataset"

    def test_train_size(self):
        sizes = {"cifar10": 50_000, "cifar100": 50_000, "fashion_mnist": 60_000, "digits": 1_437}
        assert {name: data.facts(name).train for name in data.NAMES} == sizes

    @pytest.mark.parametrize(("asked", "fits"), [(-1, False), (0, True), (1, True), (100, True), (101, False)])
    def test_train_examples_must_be_within_the_data(self, tiny_cifar10, asked, fits):
        folder = tiny_cifar10(records=20)
        if fits:
            data.check("cifar10", folder, asked)
        else:
            with pytest.raises(BadInput, match=r"must be 0 \(all\) to 100") as caught:
                data.check("cifar10", folder, asked)
            assert (caught.value.parameter, caught.value.value) == ("train_examples", asked)

    def test_nothing_heavy_is_imported(self, tiny_cifar10):
        program = """
import sys
from dlperf import data
data.facts("cifar10").train, data.facts("digits").train
assert not {"urllib.request", "rich", "platformdirs"} & set(sys.modules), "imported before they are needed"
data.CIFAR10.train_examples, data.CIFAR10.test_examples = 100, 20
data.check("cifar10", sys.argv[1], 100)
data.check("digits", "", 0)
print(*sorted({"numpy", "tensorflow", "keras", "mlflow", "sklearn", "pandas"} & set(sys.modules)))
"""
        command = [sys.executable, "-c", program, tiny_cifar10(records=20)]
        finished = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (finished.returncode, finished.stdout.strip()) == (0, ""), finished.stderr


@pytest.mark.cifar10
class TestRealData:
    def test_the_full_data_set(self):
        data.check("cifar10", "", 50_000)
        dataset = data.load("cifar10")
        assert dataset.train_inputs.shape == (50_000, 32, 32, 3)
        assert dataset.test_inputs.shape == (10_000, 32, 32, 3)
        assert np.bincount(dataset.train_labels).tolist() == [5_000] * 10
        assert np.bincount(dataset.test_labels).tolist() == [1_000] * 10

    def test_they_are_photographs_with_the_channels_last(self):
        """Neighbouring pixels of a photograph are alike in each colour; a wrong order of the axes breaks that."""
        dataset = data.load("cifar10")
        images = dataset.train_inputs[:2000].astype(np.float64)
        for axis in (1, 2):
            step = np.abs(np.diff(images, axis=axis)).mean()
            assert step < 0.3 * images.std()
        # Published per-channel means of the training set, red, green, blue, times 255.
        np.testing.assert_allclose(images.mean(axis=(0, 1, 2)), [125.3, 123.0, 113.9], atol=4)
        planes = dataset.train_inputs[dataset.train_labels == 0].astype(np.float64)
        assert planes[..., 2].mean() > planes[..., 0].mean(), "aeroplanes fly in a blue sky"
