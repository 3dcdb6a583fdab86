"""Writes tests/zoo/layers.tsv: how many layers each model has, and a hash of their names and output shapes.

    python tests/tools/pin_layers.py              # adds models that are not in it
    python tests/tools/pin_layers.py vgg16 …      # writes these anew: users' files of weights break, so say so

Weights are found by layers' names: tests/zoo/test_models.py holds every model to this table.
"""

import csv
import hashlib
import pathlib
import sys

import keras

from convcraft import zoo

TABLE = pathlib.Path(__file__).parents[1] / "zoo" / "layers.tsv"


def pin(model: keras.Model) -> tuple[int, str]:
    """Number of layers, and a hash of their names and output shapes."""
    rows = [f"{layer.name} {layer.output.shape}" for layer in model.layers]
    return len(rows), hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16]


def read() -> dict[str, tuple[int, str]]:
    """The table, model to layers and hash."""
    with TABLE.open(newline="") as file:
        return {name: (int(count), digest) for name, count, digest in csv.reader(file, delimiter="\t")}


def main(names: list[str]) -> None:
    """Writes the rows of `names` anew, and those that are missing."""
    table = read() if TABLE.exists() else {}
    for name in zoo.list_models():
        if name not in table or name in names:
            table[name] = pin(zoo.create(name))
            print(name, *table[name])
            keras.utils.clear_session()
    with TABLE.open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerows((name, *table[name]) for name in zoo.list_models())


if __name__ == "__main__":
    main(sys.argv[1:])
