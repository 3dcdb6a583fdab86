"""The report, on runs made up from scikit-learn's digits and the probabilities of a logistic regression."""

import functools
import hashlib
import html
import json
import math
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from convcraft.training import report, report_charts, report_format, report_run, report_style

EPOCHS = 15


@functools.cache
def digits():
    """Labels, probabilities and 8x8 images of 360 held-out digits; the regression is real, weak on purpose."""
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=360, stratify=y, random_state=0)
    model = LogisticRegression(C=1e-3, max_iter=300).fit(x_train, y_train)
    images = np.round(x_test * 255 / 16).astype("uint8").reshape(-1, 8, 8, 1)
    return y_test.astype("int32"), model.predict_proba(x_test).astype("float32"), images


def worst(labels, probabilities, m=16):
    """Rows of the m worst: mistakes by falling loss, then right answers by rising confidence."""
    with np.errstate(divide="ignore"):
        loss = -np.log(probabilities[np.arange(len(labels)), np.clip(labels, 0, None)])
    wrong = probabilities.argmax(1) != labels
    return np.lexsort((np.where(wrong, -loss, probabilities.max(1)), ~wrong))[:m]


def predictions(labels, probabilities, images):
    rows = worst(labels, probabilities)
    return {"labels": labels, "probabilities": probabilities, "index": rows, "images": images[rows]}


def history(epochs=EPOCHS, validation=True):
    """The lines of a resumed run of `epochs` epochs, noisy by a fixed seed."""
    noise = np.random.default_rng(0).normal(0, 0.08, (epochs, 4))
    environment = {
        "python": "3.11.7",
        "platform": "Linux-6.1.0-x86_64-with-glibc2.36",
        "processor": "Intel(R) Xeon(R) Processor @ 2.60GHz",
        "cores": 2,
        "memory_gb": 23.5,
        "backend": "tensorflow",
        "keras": "3.15.1",
        "tensorflow": "2.21.0",
        "numpy": "2.4.6",
        "convcraft": "0.1.0",
        "devices": ["CPU"],
        "strategy": None,
        "replicas": 1,
        "commit": "3f9c2ab",
    }
    lines = [
        {
            "event": "start",
            "time": "2026-11-20T17:00:00+00:00",
            "environment": environment,
            "resumed_at": None,
        }
    ]
    for epoch, (a, b, c, d) in enumerate(noise):
        if epoch == 3:
            again = {**environment, "cores": 8, "processor": "AMD EPYC 7B13"}
            resumed = {"epoch": 3, "step": 5}
            lines.append(
                {
                    "event": "start",
                    "time": "2026-11-20T18:30:00+00:00",
                    "environment": again,
                    "resumed_at": resumed,
                }
            )
        line = {
            "event": "epoch",
            "epoch": epoch,
            "steps": 21,
            "learning_rate": 0.04 * (1 - (epoch + 0.95) / epochs),
            "loss": 1.7 * math.exp(-0.32 * epoch + a) + 0.02,
            "accuracy": 1 - 0.55 * math.exp(-0.42 * epoch + b) - 0.002,
            "seconds": 2.1 + 0.1 * a,
            "images_per_second": 610.0 + 40 * b,
        }
        if validation:
            line["val_loss"] = 1.3 * math.exp(-0.32 * epoch + c) + 0.07 + 0.012 * max(0, epoch - 10)
            line["val_accuracy"] = 1 - 0.42 * math.exp(-0.45 * epoch + d) - 0.014
        lines.append(line)
    return lines


def config(names=None, **changes):
    names = names or [str(i) for i in range(10)]
    counts = {"train": 129, "val": 14, "test": 36}
    return {
        "recipe": "squeezenet_digits",
        "convcraft": "0.1.0",
        "command": "convcraft train squeezenet_digits --output runs/squeezenet_digits",
        "config": {
            "data": "digits",
            "epochs": EPOCHS,
            "batch_size": 64,
            "image_size": 32,
            "optimizer": "momentum",
            "schedule": "linear",
            "learning_rate": 0.04,
            "activation": "prelu0.1",
            "strategy": None,
            "smoke": False,
            "seed": 0,
        },
        "model": {
            "name": "squeezenet_cifar",
            "parameters": 729876,
            "trainable": 725012,
            "multiply_adds": 12_345_678,
        },
        "data": {
            "name": "digits",
            "sha256": hashlib.sha256(b"digits").hexdigest(),
            "classes": names,
            "counts": {split: dict.fromkeys(names, count) for split, count in counts.items()},
            "image_shape": [32, 32, 1],
        },
        **changes,
    }


def measured(arrays):
    """metrics.json as the loop writes it: computed from the same predictions."""
    labels, probabilities = arrays["labels"], arrays["probabilities"]
    loss = -np.log(np.clip(probabilities[np.arange(len(labels)), labels], 1e-7, 1)).mean()
    accuracy = float((probabilities.argmax(1) == labels).mean())
    return {
        "test": {"accuracy": accuracy, "loss": float(loss), "n": len(labels)},
        "val": {"accuracy": 139 / 140, "loss": 0.0713, "n": 140},
        "seconds": 35.2,
    }


def make(directory, *, config=config(), lines=None, arrays=None, metrics=None, absent=()):  # noqa: B008
    """A run directory; each part as in a finished run of the digits unless given, or named as absent."""
    directory.mkdir(parents=True, exist_ok=True)
    arrays = arrays if arrays is not None else predictions(*digits())
    (directory / "config.json").write_text(json.dumps(config))
    if "history" not in absent:
        (directory / "history.jsonl").write_text(
            "".join(json.dumps(line) + "\n" for line in lines or history())
        )
    if "metrics" not in absent:
        (directory / "metrics.json").write_text(json.dumps(metrics or measured(arrays)))
    if "predictions" not in absent:
        np.savez(directory / "predictions.npz", **arrays)
    return directory
