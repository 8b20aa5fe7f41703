"""The kubernetes backend's files: read as MLflow reads them, and valid against Kubernetes's own schemas.

No cluster is asked: what is valid need not be what a cluster admits.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from mlflow.projects import _parse_kubernetes_config
from mlflow.projects.kubernetes import _get_kubernetes_job_definition, _get_run_command

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "kubernetes"
VERSIONS = ("1.28", "1.37")  # schemas of an old version and of the newest there are


def job_as_mlflow_makes_it(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What MLflow would send to the cluster."""
    monkeypatch.chdir(ROOT)
    configuration = _parse_kubernetes_config(json.loads((FOLDER / "backend.json").read_text()))
    job: dict[str, Any] = _get_kubernetes_job_definition(
        "dlperf",
        "registry.example.com/team/dlperf:0123abc",
        "sha256:" + "0" * 64,
        _get_run_command(["python entrypoints/cutout.py --m 4"]),
        {"MLFLOW_RUN_ID": "0" * 32, "MLFLOW_TRACKING_URI": "http://tracker:5000", "MLFLOW_EXPERIMENT_ID": "0"},
        configuration["kube-job-template"],
    )
    return job


@pytest.mark.parametrize("version", VERSIONS)
def test_the_job_is_valid(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_as_mlflow_makes_it(monkeypatch)
    kubernetes_validate.validate(job, version, strict=True)
    job["spec"]["template"]["spec"]["containers"][0]["resorces"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_volumes_are_valid(version: str) -> None:
    for each in yaml.safe_load_all((FOLDER / "volumes.yaml").read_text()):
        kubernetes_validate.validate(each, version, strict=True)


def test_the_job_asks_for_a_gpu_and_runs_the_entry_point_where_the_code_is(monkeypatch: pytest.MonkeyPatch) -> None:
    pod = job_as_mlflow_makes_it(monkeypatch)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert container["command"] == ["python", "entrypoints/cutout.py", "--m", "4"]
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert f"WORKDIR {container['workingDir']}\n" in dockerfile
    assert f"USER {pod['securityContext']['runAsUser']}:" in dockerfile
    claims = {each["persistentVolumeClaim"]["claimName"] for each in pod["volumes"] if "persistentVolumeClaim" in each}
    volumes = list(yaml.safe_load_all((FOLDER / "volumes.yaml").read_text()))
    assert claims == {each["metadata"]["name"] for each in volumes if each["kind"] == "PersistentVolumeClaim"}
    assert {volume["name"] for volume in pod["volumes"]} == {mount["name"] for mount in container["volumeMounts"]}
