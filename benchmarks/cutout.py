"""The cutout problem beside the notebook's way, on this machine in one run: `python -m benchmarks.cutout`.

Prints the tables, and with `--output FOLDER` writes them to benchmark.json and benchmark.md there. Every figure comes
from processes of their own; those that are compared run in turn. Leave the machine alone while it runs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from dlperf import environment, terminal

MEMORY_M = (1, 2, 4, 8, 16, 32)
OVERHEAD_TARGETS = {44: 0.01, 8: 0.05}
AUGMENTATION_TARGETS = {"notebook": 10, "corrected": 20}


def in_own_process(module: str, *arguments: object) -> dict[str, Any]:
    """Run a benchmark module and return the JSON of its last line."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]
    # Legacy ImageDataGenerator and TensorFlow both write to standard error; a failure shows it.
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def augmentation(m: int, repeats: int) -> pd.DataFrame:
    """CPU time per augmented image, each way several times in turn."""
    figures = [in_own_process("augmentation", "--m", m, "--json") for _ in range(repeats)]
    rows = []
    for protocol, target in AUGMENTATION_TARGETS.items():
        reference = statistics.median(f["notebook_way"] for f in figures)
        ours = statistics.median(f[protocol] for f in figures)
        rows.append(
            {
                "augmentation, m=" + str(m): f"protocol={protocol}",
                "notebook's way (CPU us per image)": round(reference, 1),
                "ours (CPU us per image)": round(ours, 1),
                "times less": round(statistics.median(f["notebook_way"] / f[protocol] for f in figures), 1),
                "asked for": target,
            }
        )
    return pd.DataFrame(rows)


def training_speed(m: int, repeats: int) -> pd.DataFrame:
    """Training time per augmented image at ResNet-44, the two ways in turn."""
    pairs = [
        {way: in_own_process("training_speed", way, "--m", m) for way in ("notebook", "ours")} for _ in range(repeats)
    ]
    rows = []
    for figure in ("wall_ms_per_image", "cpu_ms_per_image", "warm_up_seconds"):
        notebook, ours = (statistics.median(pair[way][figure] for pair in pairs) for way in ("notebook", "ours"))
        ratio = statistics.median(pair["notebook"][figure] / pair["ours"][figure] for pair in pairs)
        row = {f"training ResNet-44, m={m}": figure.replace("_", " ")}
        rows.append({**row, "notebook's way": round(notebook, 2), "ours": round(ours, 2), "ratio": round(ratio, 2)})
    return pd.DataFrame(rows)


def overhead(repeats: int) -> pd.DataFrame:
    """Share of an epoch's CPU time around the bare compiled step."""
    rows = []
    for depth, target in OVERHEAD_TARGETS.items():
        # Epochs of about ten seconds, so that both sides of a pair meet the same machine. Tracking is paid once an
        # epoch, so its share is overstated: an epoch of the whole data set is twenty times as long or more.
        images = 512 if depth == 44 else 2048
        figures = in_own_process("overhead", "--depth", depth, "--images", images, "--repeats", repeats)
        rows.append(
            {
                "around the bare step": f"ResNet-{depth}",
                "epoch (CPU s)": round(figures["epoch_cpu_seconds"], 2),
                "bare steps (CPU s)": round(figures["bare_cpu_seconds"], 2),
                "share, median": f"{figures['share']:.1%}",
                "quartiles": f"{figures['lower_quartile']:.1%} to {figures['upper_quartile']:.1%}",
                "share of the least": f"{figures['share_of_least']:.1%}",
                "asked for": f"at most {target:.0%}",
            }
        )
    return pd.DataFrame(rows)


def peak_memory(images: int) -> pd.DataFrame:
    """Peak resident memory in MB by m."""
    rows = []
    for m in MEMORY_M:
        peaks = {
            way: in_own_process("peak_memory", way, "--m", m, "--images", images)["peak_memory_mb"]
            for way in ("notebook", "epoch", "batch")
        }
        rows.append(
            {
                "m": m,
                f"notebook's way, {images:,} images (MB)": round(peaks["notebook"]),
                "ours, copies_in=epoch (MB)": round(peaks["epoch"]),
                "ours, copies_in=batch (MB)": round(peaks["batch"]),
            }
        )
    return pd.DataFrame(rows)


def main() -> None:
    """Measure everything, print it, and write it down if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--m", type=int, default=4, help="copies of each image (default 4)")
    parser.add_argument("--repeats", type=int, default=3, help="processes per way (default 3)")
    parser.add_argument("--images", type=int, default=5000, help="images in the memory measurement (default 5000)")
    parser.add_argument("--output", type=Path, help="folder for benchmark.json and benchmark.md")
    arguments = parser.parse_args()
    tables = {
        "augmentation": augmentation(arguments.m, arguments.repeats),
        "training": training_speed(arguments.m, arguments.repeats),
        "overhead": overhead(7),
        "memory": peak_memory(arguments.images),
    }
    for name, table in tables.items():
        terminal.show_table(name, table)
    if arguments.output:
        _write(arguments.output, tables)


def _write(folder: Path, tables: dict[str, pd.DataFrame]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    data = "CIFAR-10" if os.environ.get("DLPERF_DATA_DIR") else "random images"
    described = {**environment.describe(), "data": data}
    figures = {name: table.to_dict("records") for name, table in tables.items()}
    (folder / "benchmark.json").write_text(json.dumps({"environment": described, "figures": figures}, indent=2) + "\n")
    parts = [f"Measured on {environment.hardware()}, {data}; command: `{described['command']}`."]
    parts += [table.to_markdown(index=False) for table in tables.values()]
    (folder / "benchmark.md").write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
