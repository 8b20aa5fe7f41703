"""compose.yaml says nothing secret, listens to nobody else, and starts what has been tried."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "compose.yaml").read_text()
COMPOSE = yaml.safe_load(TEXT)
AUTH = yaml.safe_load((ROOT / "compose.auth.yaml").read_text())


def test_passwords_come_from_the_environment_and_have_no_default() -> None:
    secrets = re.findall(r"\$\{(\w*(?:PASSWORD|SECRET)\w*)(:?\??)", TEXT + (ROOT / "compose.auth.yaml").read_text())
    assert {name for name, _ in secrets} == {
        *("POSTGRES_PASSWORD", "MLFLOW_AUTH_ADMIN_PASSWORD", "MLFLOW_FLASK_SERVER_SECRET_KEY")
    }
    assert {required for _, required in secrets} == {":?"}


def test_only_the_tracking_server_listens_and_on_the_loopback_unless_told_otherwise() -> None:
    services = COMPOSE["services"]
    assert [name for name, service in services.items() if "ports" in service] == ["tracker"]
    assert services["tracker"]["ports"] == ["${TRACKER_ADDRESS:-127.0.0.1}:${TRACKER_PORT:-5000}:5000"]


def test_what_is_kept_lies_on_named_volumes() -> None:
    mounted = [each.partition(":")[0] for service in COMPOSE["services"].values() for each in service["volumes"]]
    assert set(mounted) == set(COMPOSE["volumes"])
    (file,) = (each.partition(":")[0] for each in AUTH["services"]["tracker"]["volumes"])
    assert (ROOT / file).is_file()


def test_both_services_say_whether_they_are_well() -> None:
    assert "pg_isready" in COMPOSE["services"]["database"]["healthcheck"]["test"]
    dockerfile = (ROOT / COMPOSE["services"]["tracker"]["build"]["dockerfile"]).read_text()
    assert "HEALTHCHECK" in dockerfile
    assert COMPOSE["services"]["tracker"]["depends_on"] == {"database": {"condition": "service_healthy"}}


def test_the_servers_image_takes_mlflow_from_conda_yaml_and_the_rest_from_the_extra() -> None:
    dockerfile = (ROOT / COMPOSE["services"]["tracker"]["build"]["dockerfile"]).read_text()
    extra = re.search(r"^server = \[(.*)\]$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert extra
    assert extra[1].replace(", ", " ") in dockerfile
    assert re.search(r"- mlflow==[\d.]+$", (ROOT / "conda.yaml").read_text(), re.MULTILINE)
