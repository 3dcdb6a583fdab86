"""Where a run took place: versions, devices, commit."""

import datetime
import importlib.metadata
import os
import pathlib
import platform
import subprocess
import sys
from typing import Any

import keras

import convcraft

from . import distribute

BACKENDS = {"tensorflow": ("tensorflow", "tensorflow-cpu"), "jax": ("jax",), "torch": ("torch",)}


def describe(strategy: distribute.Strategy | None = None) -> dict[str, Any]:
    """A JSON-able dictionary of versions, hardware, strategy and commit, for the run's log."""
    backend = keras.backend.backend()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": _memory(),
        "backend": backend,
        "keras": keras.__version__,
        backend: _version(*BACKENDS.get(backend, (backend,))),
        "numpy": _version("numpy"),
        "convcraft": convcraft.__version__,
        "devices": devices(),
        "strategy": type(strategy).__name__ if strategy is not None else None,
        "replicas": distribute.replicas(strategy),
        "commit": _commit(),
    }


def devices() -> list[str]:
    """The GPUs by name, or `["CPU"]`."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        names = [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus]
        return names or ["CPU"]
    if backend == "torch":
        import torch

        return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] or ["CPU"]
    found = [str(name) for name in keras.distribution.list_devices()] if backend == "jax" else []
    return [name for name in found if not name.startswith("cpu")] or ["CPU"]


def now() -> str:
    """The time in UTC, to the second, as ISO 8601."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _version(*packages: str) -> str | None:
    for package in packages:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _processor() -> str:
    if sys.platform == "linux":
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.lower().startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _memory() -> float | None:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)


def _commit() -> str | None:
    """The commit of the checkout that convcraft is imported from; None for an installed package."""
    root = pathlib.Path(convcraft.__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
