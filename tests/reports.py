"""Run directories made up from scikit-learn's digits and a logistic regression, and a strict reader of their pages."""

import functools
import hashlib
import json
import math
from html.parser import HTMLParser

import numpy as np

from convcraft.training import report

EPOCHS = 15


@functools.cache
def digits():
    """Labels, probabilities and 8x8 images of 360 held-out digits; the regression is real, but kept weak."""
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
        (directory / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines or history()))
    if "metrics" not in absent:
        (directory / "metrics.json").write_text(json.dumps(metrics or measured(arrays)))
    if "predictions" not in absent:
        np.savez(directory / "predictions.npz", **arrays)
    return directory


VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """Parses strictly: every element must be closed, in order. Keeps elements with their text."""

    def __init__(self, source):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.words = [], [], []
        self.feed(source)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag, attrs):
        element = {"tag": tag, "attrs": dict(attrs), "text": "", "parents": [e["tag"] for e in self.open]}
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open and self.open[-1]["tag"] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data
        if not {"style", "title"} & {element["tag"] for element in self.open}:
            self.words.append(data)

    def all(self, tag, **attrs):
        return [
            e
            for e in self.elements
            if e["tag"] == tag and all(e["attrs"].get(k.strip("_")) == v for k, v in attrs.items())
        ]

    @property
    def text(self):
        return " ".join("".join(self.words).split())

    def rows(self, label):
        """Cells' texts of the table in the scrolling box of that label, a list a row."""
        start = next(
            i for i, e in enumerate(self.elements) if e["attrs"].get("aria-label") == label and e["tag"] == "div"
        )
        rows = []
        for e in self.elements[start + 1 :]:
            if e["tag"] in ("div", "section"):
                break
            if e["tag"] == "tr":
                rows.append([])
            if e["tag"] in ("td", "th"):
                rows[-1].append(e["text"])
        return rows


def page(directory):
    return Page(report.write(directory).read_text("utf-8"))


def many(k, n, names, seed=1, size=None):
    """Arrays of n images of k classes, noise as pictures, a fifth mistaken."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, n).astype("int32")
    scores = rng.normal(0, 1, (n, k))
    scores[np.arange(n), labels] += rng.normal(4, 1, n)
    probabilities = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    images = rng.integers(0, 255, (n, size or 96, size or 128, 3)).astype("uint8")
    return predictions(labels, probabilities.astype("float32"), images)


def hundred(directory):
    names = [f"class {i}: {'long ' * (i % 7)}name" for i in range(100)]
    return make(directory, config=config(names), arrays=many(100, 800, names), lines=history(120))


def two(directory):
    """Two classes, one epoch, every image right."""
    labels, probabilities, images = digits()
    kept = labels < 2
    pair = probabilities[kept][:, :2]
    pair /= pair.sum(1, keepdims=True)
    arrays = predictions(labels[kept], pair, images[kept])
    return make(directory, config=config(["cat", "dog"]), arrays=arrays, lines=history(1))


def diverged(directory):
    """Unfinished, without validation, the loss NaN from epoch 7 on, the last line cut by a kill."""
    lines = history(validation=False)
    for line in lines[8:]:
        line["loss"] = math.nan
    make(directory, lines=lines[:-4], absent=("metrics", "predictions"))
    with (directory / "history.jsonl").open("a") as file:
        file.write('3\n{"event": "epoch", "ep')
    return directory


HOSTILE = '<script>alert("x")</script>&amp;\'>'
NAMES = [
    HOSTILE,
    "🦔 hérisson",
    "写真",
    "اسم عربي",
    "a_very_long_class_name_" * 5,
    "\udcffbroken",
    "nul\x00",
    " ",
    "8",
    "9",
]


def made_hostile(directory):
    """Markup, other scripts and broken bytes wherever a run has text."""
    environment = {"processor": HOSTILE, HOSTILE: HOSTILE}
    lines = [
        {"event": "start", "time": HOSTILE, "environment": environment, "resumed_at": None},
        *history()[1:],
    ]
    lines[2][HOSTILE] = 1.0
    about = config(NAMES, recipe=HOSTILE, command=HOSTILE, convcraft=HOSTILE)
    about["config"][HOSTILE] = {"a": [HOSTILE] * 500}
    about["data"] |= {"name": HOSTILE, "sha256": HOSTILE, "image_shape": [HOSTILE]}
    about["model"]["name"] = HOSTILE
    metrics = {HOSTILE: {"accuracy": 0.5, "loss": 1.0, "n": 2}, **measured(predictions(*digits()))}
    return make(directory, config=about, lines=lines, metrics=metrics)


def seeing(arrays, maps=True, seed=0):
    """The same predictions with what `training.insight` adds: filters, gradients, maps."""
    rng = np.random.default_rng(seed)
    rows = arrays["index"]
    shown = np.stack([arrays["probabilities"].argmax(axis=1), arrays["labels"]], axis=1)[rows]
    added = {
        "filters": rng.normal(0, 1, (3, 3, 1, 20)).astype("float32"),
        "filters_layer": np.array("stem_conv"),
        "gradients": 10.0 ** rng.uniform(-4, -2, 21),
        "gradient_layers": np.array([f"block{i}/conv" for i in range(21)]),
    }
    if maps:
        added |= {"maps": rng.normal(0, 1, (len(rows), 2, 4, 4)).astype("float16"), "map_classes": shown}
    return {**arrays, **added}


def check_structure(page, links=True):
    assert page.elements[0]["attrs"]["lang"] == "en"
    for landmark in ("h1", "header", "nav", "main", "footer"):
        assert len(page.all(landmark)) == 1, landmark
    assert all(e["attrs"].get("scope") in ("row", "col") for e in page.all("th"))
    assert all(e["attrs"].get("alt") for e in page.all("img"))
    assert all(e["attrs"].get("role") == "img" and e["attrs"].get("aria-label") for e in page.all("svg"))
    ids = [e["attrs"]["id"] for e in page.elements if "id" in e["attrs"]]
    assert len(ids) == len(set(ids))
    targets = [e["attrs"]["href"] for e in page.all("a") if links or e["attrs"]["href"].startswith("#")]
    assert targets and {target.removeprefix("#") for target in targets} <= set(ids)
    for tag in (
        "section",
        "h1",
        "h2",
        "h3",
        "p",
        "caption",
        "figcaption",
        "dt",
        "dd",
        "ul",
        "dl",
        "li",
        "tbody",
    ):
        assert all(e["text"].strip() for e in page.all(tag)), f"an empty {tag}"
    levels = [int(e["tag"][1]) for e in page.elements if e["tag"] in ("h1", "h2", "h3")]
    assert levels[0] == 1
