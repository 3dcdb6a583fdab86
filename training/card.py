"""card.md: what a run's model is, in the layout of Hugging Face's model cards."""

import os
import pathlib

from . import rundir
from .report.format import duration


def write(directory: str | os.PathLike[str]) -> pathlib.Path:
    """Writes `directory`/card.md from the run's own files; returns its path."""
    directory = pathlib.Path(directory)
    run = rundir.read_json(directory / "config.json")
    metrics = rundir.read_json(directory / "metrics.json")
    starts, epochs = rundir.read_history(directory / "history.jsonl")
    where, data, test = starts[-1]["environment"], run["data"], metrics["test"]
    counts = ", ".join(f"{sum(by_class.values())} {split}" for split, by_class in data["counts"].items())
    shape = "x".join(map(str, data["image_shape"]))
    options = "\n".join(f"| {key} | {value} |" for key, value in run["config"].items())
    text = f"""---
library_name: keras
tags: [image-classification, convcraft]
metrics: [accuracy]
---
# {run["model"]["name"]} on {data["name"]}

Test accuracy {100 * test["accuracy"]:.2f} %, crossentropy {test["loss"]:.4f}, on {test["n"]} images that were not
trained on. Measured on the saved file, reloaded in a fresh process on one device.

## How to use it

```python
import convcraft

model = convcraft.load_model("model.keras")
logits = model.predict(images)  # raw 0-255 images, {shape} each
```

## Model

{run["model"]["parameters"]:,} parameters. Input: raw 0-255 images, {shape}; preprocessing is part of the model.
Output: logits, in the order {", ".join(data["classes"][:20])}{", …" if len(data["classes"]) > 20 else ""}.
File: SHA-256 {metrics["model_sha256"]}.

## Training

Data: {data["name"]} ({counts}); SHA-256 {data["sha256"] or "unknown: the user's own tf.data"}.
Recipe: {run["recipe"]}, convcraft {run["convcraft"]}, commit {where["commit"] or "unknown (installed package)"}.
Command: `{run["command"]}`
{len(epochs)} epochs in {duration(metrics["seconds"] or sum(epoch["seconds"] for epoch in epochs))}, on
{", ".join(where["devices"])} ({where["processor"]}, {where["cores"]} cores), {where["backend"]},
Keras {where["keras"]}.

| option | value |
|---|---|
{options}

## Limits

It knows the {len(data["classes"])} classes above and answers with one of them whatever it is shown. It was measured on
images like those it was trained on; nothing is known of others.
"""
    path = directory / "card.md"
    rundir.write_atomically(path, lambda file: file.write(text.encode()))
    return path
