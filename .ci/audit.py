"""Asks a scanner's service about the installed versions of packages: `make audit`. No part of `.ci/run`.

Reads `pip freeze` from standard input. Exit status 0: it knows of no vulnerability; 1: it does, each in a line; 3: it
does not answer.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

_SCANNER = [str(Path(sys.executable).parent / "pip-audit"), "--no-deps", "--disable-pip", "--progress-spinner", "off"]


def main() -> int:
    """Scan, and return the exit status."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as pins:
        pins.write("".join(line for line in sys.stdin if "==" in line))
        pins.flush()
        done = subprocess.run([*_SCANNER, "--format", "json", "-r", pins.name], capture_output=True, text=True)
    try:
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        return _no_answer(last)
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    # A mirror that serves files and not what PyPI knows of them calls every package unknown, and none vulnerable.
    if len(unknown) == len(packages):
        return _no_answer("it knows none of the packages")
    found = [(package, vulnerability) for package in packages for vulnerability in package.get("vulns", ())]
    for package, known in found:
        fixed = ", ".join(known["fix_versions"]) or "no version"
        print(f"{package['name']} {package['version']}: {known['id']}, fixed in {fixed}")
    if unknown:
        print(f"not known to the service: {', '.join(unknown)}")
    print(f"{len(packages) - len(unknown)} packages asked about, {len(found)} known vulnerabilities")
    return 1 if found else 0


def _no_answer(why: str) -> int:
    print(f"audit: the service of pip-audit does not answer, so nothing is known: {why}", file=sys.stderr)
    return 3


if __name__ == "__main__":
    sys.exit(main())
