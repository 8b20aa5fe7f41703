"""The user's own files on their way to a host: which, under what name, once, and whole."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import PIL.Image
import pytest

from dlperf import entry_points
from dlperf.errors import BadInput, EnvironmentMissing
from dlperf.parameters import parse, texts
from dlperf.remote import container, docker_engine, own_files, volume
from dlperf.remote.own_files import OwnFile, folder_for, named_there, packed, plan


@pytest.fixture
def arguments(tmp_path: Path) -> dict[str, str]:
    """A model as far as it is told by its archive, a data set, and a file with classes."""
    with zipfile.ZipFile(tmp_path / "my.keras", "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Sequential"}))
        archive.writestr("model.weights.h5", b"weights")
    arrays = {f"x_{split}": np.ones((4, 2)) for split in ("train", "test")}
    np.savez(tmp_path / "my.npz", **arrays, y_train=np.arange(4) % 2, y_test=np.arange(4) % 2)
    (tmp_path / "own layers.py").write_text("classes = True")
    named = {"model": f"keras:{tmp_path}/my.keras", "dataset": f"npz:{tmp_path}/my.npz"}
    return {"protocol": "corrected", "threads": "1", "custom": f"{tmp_path}/own layers.py", **named}


def unpacked(own: OwnFile, folder: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(b"".join(packed(own, own.digest)))) as archive:
        archive.extractall(folder, filter="data")


def test_a_trial_is_the_same_there_and_logs_the_files_names(arguments: dict[str, str], tmp_path: Path) -> None:
    own = plan("optimizers", arguments)
    names = {"dataset": "my.npz", "model": "my.keras", "custom": "own layers.py"}
    assert {each.parameter: each.name for each in own} == names
    assert named_there({"m": "4"}, [], "/data/sent") == {"m": "4"}
    for each in own:
        unpacked(each, tmp_path / "there")
    there = named_there(arguments, own, f"{tmp_path}/there")
    assert there["dataset"] == f"npz:{tmp_path}/there/{own[0].digest}/my.npz"
    assert {name for name in there if there[name] != arguments[name]} == set(names)
    problem = entry_points.load_problem("optimizers")
    here, sent = (parse(problem.parameters, given).trials[0] for given in (arguments, there))
    assert problem.trial_key(here) == problem.trial_key(sent)
    assert texts(here) == texts(sent)


def test_the_digest_is_of_names_and_contents(arguments: dict[str, str], tmp_path: Path) -> None:
    def digest() -> str:
        return plan("optimizers", arguments)[0].digest

    first = digest()
    (tmp_path / "other").mkdir()
    arguments["dataset"] = f"npz:{shutil.copy(tmp_path / 'my.npz', tmp_path / 'other')}"
    assert digest() == first
    arguments["dataset"] = f"npz:{shutil.copy(tmp_path / 'my.npz', tmp_path / 'second.npz')}"
    assert digest() != first


def test_of_a_folder_the_images_alone_are_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cat/1.png", "cat/deeper/2.png", "dog/1.png"):
        file = tmp_path / "photos" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.new("RGB", (4, 4)).save(file)
        shutil.copy(file, file.with_name("copy.PNG"))
    (tmp_path / "photos" / "cat" / "notes.txt").write_text("none")
    monkeypatch.chdir(tmp_path)
    given = {"dataset": "images:photos/", "protocol": "corrected"}
    (own,) = plan("cutout", given)
    assert own.named_in("/data/sent") == f"images:/data/sent/{own.digest}/photos"
    unpacked(own, tmp_path / "there")
    sent = [path for path in (tmp_path / "there" / own.digest).rglob("*") if path.is_file()]
    assert len(sent) == len(own.files) == 6
    for path in sent:
        original = tmp_path / path.relative_to(tmp_path / "there" / own.digest)
        assert (path.read_bytes(), path.stat().st_mtime) == (original.read_bytes(), original.stat().st_mtime)
        assert path.stat().st_mode & 0o777 == 0o644
    (tmp_path / "photos" / "bird").mkdir()
    with pytest.raises(BadInput, match="dataset=images:photos/: the folder bird has no image"):
        plan("cutout", given)


def test_a_file_that_changes_on_the_way_is_refused(arguments: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "own layers.py"
    own = plan("optimizers", arguments)[2]
    own_files.refuse_changed(own)
    parts = packed(own, "x")
    next(parts), next(parts)  # the folder, and the file's length
    file.write_text("longer than it was")
    with pytest.raises(BadInput, match=r"custom=.*own layers.py: has changed while it was sent: start again"):
        list(parts)
    with pytest.raises(BadInput, match=r"custom=.*: has changed"):
        own_files.refuse_changed(own)
    file.unlink()
    with pytest.raises(BadInput, match=r"custom=.*: cannot be read \(No such file or directory: "):
        list(packed(own, "x"))


def test_what_the_host_has_is_not_sent(arguments: dict[str, str]) -> None:
    arguments["dataset"] = "npz:/data/only-there.npz"
    assert [each.parameter for each in plan("optimizers", arguments)] == ["model", "custom"]
    assert (folder_for("dlperf-data"), folder_for("/srv/cifar10")) == ("/data/sent", "/cache/sent")
    assert container.needs_cache("/srv/photos", {"dataset": "images:/data"})
    assert not container.needs_cache("/srv/cifar10", {"dataset": "cifar10"})
    assert not container.needs_cache("dlperf-data", {"dataset": "images:/data/sent/x"})


class Engine:
    """An engine whose containers run their scripts here, in a folder that stands for /data."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.made, self.containers = folder, list[dict[str, Any]](), SimpleNamespace(create=self._create)
        folder.mkdir()

    def _create(self, image: str, command: list[str], **settings: Any) -> Any:
        self.made.append({"image": image, **settings})
        here = [word.replace("/data", str(self.folder), 1) if word.startswith("/data") else word for word in command]
        done: list[subprocess.CompletedProcess[bytes]] = []

        def put_archive(path: str, content: Iterator[bytes]) -> None:
            with tarfile.open(fileobj=io.BytesIO(b"".join(content))) as archive:
                archive.extractall(path.replace("/data", str(self.folder), 1), filter="data")

        return SimpleNamespace(
            start=lambda: done.append(subprocess.run(["sh", *here], capture_output=True)),
            wait=lambda: {"StatusCode": done[0].returncode},
            logs=lambda stdout, stderr: done[0].stdout if stdout else done[0].stderr,
            put_archive=put_archive,
            remove=lambda **_: self.made[-1].update(removed=True),
        )


def test_each_file_is_sent_once(
    arguments: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine, link = Engine(tmp_path / "data"), SimpleNamespace(name="gpuhost")
    checked: list[float] = []
    monkeypatch.setattr(docker_engine, "check_disk", lambda link, client, needed: checked.append(needed))
    own = plan("optimizers", arguments)

    def send() -> list[str]:
        volume.send(link, engine, "dlperf", "dlperf-data", own)  # type: ignore[arg-type]
        return capsys.readouterr().err.splitlines()

    assert send() == [
        f"dlperf remote: sending {name} to gpuhost, 0.0 MB" for name in ("my.npz", "my.keras", "own layers.py")
    ]
    assert len(checked) == 3
    assert sorted(path.name for path in (tmp_path / "data" / "sent").iterdir()) == sorted(o.digest for o in own)
    for each in own:
        (path,) = each.files.values()
        assert (tmp_path / "data" / "sent" / each.digest / each.name).read_bytes() == path.read_bytes()
    assert send()[0] == "dlperf remote: my.npz is on gpuhost already"
    assert len(checked) == 3
    assert all(made["removed"] and made["network_mode"] == "none" for made in engine.made)
    (tmp_path / "own layers.py").write_text("other classes")
    own = plan("optimizers", arguments)
    assert [line.split()[2] for line in send()] == ["my.npz", "my.keras", "sending"]


def test_a_volume_that_cannot_be_written_is_said(arguments: dict[str, str], tmp_path: Path) -> None:
    engine: Any = Engine(tmp_path / "data")
    (tmp_path / "data" / "sent").write_text("a file")
    link: Any = SimpleNamespace(name="gpuhost")
    with pytest.raises(EnvironmentMissing, match=r"the host's volume cannot take files: mkdir: .*File exists"):
        volume.send(link, engine, "dlperf", "dlperf-data", plan("optimizers", arguments))


def test_without_files_nothing_is_asked_of_the_host() -> None:
    nobody: Any = None
    volume.send(nobody, nobody, "dlperf", "dlperf-data", plan("cutout", {"dataset": "digits"}))
    assert plan("main", {}) == plan("compare", {}) == []
