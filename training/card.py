"""card.md: what a run's model is, in the layout of Hugging Face's model cards."""

import os
import pathlib

from . import rundir
from .report.format import duration
from .report.run import MEASURES


def _measured(test):
    """Each measure in words; of several seeds mean and deviation."""
    said = []
    for name, word in MEASURES.items():
        if name in test:
            factor, unit = (1, "") if name == "loss" else (100, " %")
            digits = 4 if name == "loss" else 2
            spread = f" ± {factor * test[name + '_std']:.{digits}f}" if "seeds" in test else ""
            word = "crossentropy" if name == "loss" else word
            said.append(f"{word} {factor * test[name]:.{digits}f}{spread}{unit}")
    return "Test " + ", ".join(said)


def _several(metrics):
    if "seeds" not in metrics["test"]:
        return ""
    count, chosen = len(metrics["test"]["seeds"]), metrics["chosen"]
    by = "the best on validation images" if "val" in metrics else "the first"
    return f" Mean and standard deviation (n - 1) of {count} seeds; model.keras is that of seed {chosen}, {by}."


def write(directory: str | os.PathLike[str]) -> pathlib.Path:
    """Writes `directory`/card.md from the run's own files; returns its path."""
    directory = pathlib.Path(directory)
    run = rundir.read_json(directory / "config.json")
    metrics = rundir.read_json(directory / "metrics.json")
    several = [directory / f"seed-{seed}" for seed in metrics["test"].get("seeds", ())]
    histories = [rundir.read_history(part / "history.jsonl") for part in several or [directory]]
    starts, epochs = histories[0][0], [epoch for _, rows in histories for epoch in rows]
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

{_measured(test)}, on {test["n"]} images that were not trained on. Measured on the
saved file, reloaded in a fresh process on one device.{_several(metrics)}

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
