"""What the benchmarks share: two things timed in turn, and the file that their ratios go to."""

import csv
import importlib.metadata
import os
import pathlib
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

BACKEND = keras.backend.backend()
RESULTS = pathlib.Path(__file__).with_name("results")
HEADER = ["part", "ours", "peer", "backend", "ratio", "ms", "peer_ms", "aim", "rounds", "device", "versions", "commit"]
ROUNDS = 9
PEERS = ("keras-cv", "keras-hub", "timm", "torch")  # their versions are noted where they are installed


@dataclass
class Pair:
    """Two functions to time in turn; both return something to wait for."""

    ours: str
    peer: str
    run: Callable[[], Any]
    run_peer: Callable[[], Any]
    aim: str = ""
    repeat: int = 5


def wait(result: Any) -> None:
    """Until the device is done: a number is read."""
    flat = keras.tree.flatten(result)
    if flat:
        np.asarray(keras.ops.convert_to_numpy(keras.ops.ravel(flat[-1])[:1]))


def seconds(run: Callable[[], Any], repeat: int) -> float:
    """Of one call."""
    start = time.perf_counter()
    for _ in range(repeat):
        result = run()
    wait(result)
    return (time.perf_counter() - start) / repeat


def measure(pair: Pair) -> tuple[float, float, float]:
    """Ratio, our milliseconds, the peer's: medians over rounds in which each is timed in turn."""
    for run in (pair.run, pair.run_peer):
        wait(run()), wait(run())
    times = [(seconds(pair.run, pair.repeat), seconds(pair.run_peer, pair.repeat)) for _ in range(ROUNDS)]
    one, other = (1000 * statistics.median(column) for column in zip(*times, strict=True))
    return statistics.median(a / b for a, b in times), one, other


def environment() -> list[str]:
    """Device, versions of what takes part, commit."""
    device = f"{os.cpu_count()} CPU cores, {platform.machine()}"
    if BACKEND == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        device = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU") if gpus else device
    names = {"tensorflow": ["tensorflow", "tensorflow-cpu"], "jax": ["jax"], "torch": ["torch"]}[BACKEND]
    versions = []
    for name in ["keras", *names, *PEERS]:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    git = ["git", "-C", str(RESULTS), "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True).stdout.strip()
    return [device, "; ".join(versions), commit]


def save(name: str, measured: Iterable[list[Any]]) -> None:
    """Prints rows as they come, then puts them in results/NAME.csv, in place of the same rows."""
    path, here, new = RESULTS / f"{name}.csv", environment(), []
    for row in measured:
        row[4:7] = [round(value, 3) for value in row[4:7]]
        new.append([*map(str, row), *here])
        print(f"{row[1]:42} {row[4]:6.2f} of {row[2]:40} {row[5]:9.2f} / {row[6]:.2f} ms  {row[7]}", flush=True)
    done = {(row[0], row[1], row[3].split()[0]) for row in new}
    old = list(csv.reader(path.open(newline="")))[1:] if path.exists() else []
    kept = [row for row in old if (row[0], row[1], row[3].split()[0]) not in done]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([HEADER, *sorted(kept + new, key=lambda row: (row[0], row[3]))])
