"""What `training.advise` knows: costs of the zoo by image size, and what was measured, as tables of the package.

    python benchmarks/advice.py costs     builds all models at two or three sizes (some minutes): tables/costs.csv
    python benchmarks/advice.py rows      tables/measured.csv, of results/recipes.csv and results/fine_tuning.csv; the
                                          scripts that add rows there do it, too

The tables lie in training/sizing/tables. Costs are those of `zoo.cost`, for images of three channels, in two parts,
because they grow along a line with the number of classes: what the last layers take for a class, and what all the
rest takes. Of recipes with a row of their own, the recipe's network is counted, too.
"""

import argparse
import csv
import functools
import pathlib
from collections import defaultdict
from collections.abc import Iterator
from math import prod

ROOT = pathlib.Path(__file__).parents[1]
RESULTS = pathlib.Path(__file__).with_name("results")
TABLES = ROOT / "training" / "sizing" / "tables"
SIZES = {
    "small": (32, 64),
    "large": (64, 128, 224),
}  # of models that are made for images of at most 64 pixels, of larger
CLASSES = 997  # a prime, which is no layer's width
SEGMENTS = ("fcn", "water_unet")  # answer for each pixel
# recipes whose rows say nothing of their network: labels that are wrong on purpose, several networks, no zoo model
OTHER = ("noisy_labels_mnist", "ensemble_cifar10", "finetune_folder", "finetune_imbalanced", "segment_shapes")
# epochs from which a row says something of its network, and not of a training that was cut short
ENOUGH = 10
# name: side as trained, channels, classes, training images of a class (without those for validation)
SETS = {
    "digits": (32, 1, 10, 129),
    "cifar10_jpeg": (32, 3, 10, 4500),
    "tinyimagenet80": (64, 3, 80, 450),
    "hymenoptera": (None, 3, 2, None),  # None: as the row says
    "sign_digits_20": (None, 3, 10, None),
    "bccd_20": (None, 3, 3, None),
    "bccd_half": (None, 3, 3, None),
}
COSTS = ["model", "recipe", "options", "made_for", "size", "parameters", "multiply_adds", "activation_bytes"]
COSTS += ["parameters_per_class", "multiply_adds_per_class", "activation_bytes_per_class", "stride", "published"]
MEASURED = ["model", "recipe", "options", "weights", "policy", "data", "image_size", "channels", "classes"]
MEASURED += ["images_per_class", "n", "accuracy", "low", "high", "seeds", "epochs", "minutes"]
MEASURED += ["images_per_second", "hardware"]


def read(name: str) -> list[dict[str, str]]:
    """The rows of a file of benchmarks/results."""
    with (RESULTS / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def text(header: list[str], rows: list[dict]) -> str:
    """As a .csv."""
    lines = [header, *([str(row[key]) for key in header] for row in rows)]
    return "".join(",".join(f'"{cell}"' if "," in cell else cell for cell in line) + "\n" for line in lines)


def model_of(row: dict[str, str]) -> str:
    """The zoo's name of a row's network; empty where it is none of the zoo's."""
    from convcraft import zoo
    from convcraft.training.sizing import known

    if row["recipe"] in OTHER:
        return ""
    size, channels, classes, _ = SETS[row["data"]]
    name = known.recipe_model(row["recipe"], row["options"], (size, size, channels), classes).name
    return name if name in zoo.list_models() else ""


@functools.cache
def recipes() -> list[dict[str, str]]:
    """The rows of recipes whose network is one of the zoo's, and was trained for a while."""
    rows = [row for row in read("recipes") if int(row["epochs"]) >= ENOUGH]
    return [row | {"model": model} for row in rows if (model := model_of(row))]


def costs() -> Iterator[dict]:
    """A row for each model or recipe, size and number of classes, where such images fit."""
    from convcraft import zoo

    for name in zoo.list_models():
        if name.startswith(SEGMENTS):
            continue
        knobs = {"conv_init", "dense_init"} & set(zoo.info(name).knobs)
        design = zoo.Design(**dict.fromkeys(knobs, "zeros"))  # nothing to draw
        yield from counted(
            {"model": name, "recipe": "", "options": ""},
            lambda shape, classes, name=name, design=design: zoo.create(name, classes, shape, design=design),
        )
    from convcraft.training.sizing import known

    for row in recipes():
        keys = {key: row[key] for key in ("model", "recipe", "options")}
        yield from counted(
            keys, lambda shape, classes, row=row: known.recipe_model(row["recipe"], row["options"], shape, classes)
        )


def counted(keys, build) -> Iterator[dict]:
    """The rows of one model."""
    from convcraft import zoo

    info = zoo.info(keys["model"])
    for size in SIZES["small" if info.input_shape[0] <= 64 else "large"]:
        try:
            spent = zoo.cost(build((size, size, 3), CLASSES))
        except ValueError as error:
            print(keys["model"], size, error, flush=True)
            continue
        last = [layer for layer in spent.layers if layer.output_shape[-1] == CLASSES]  # of auxiliary heads, too
        share = {
            "parameters": sum(layer.parameters for layer in last),
            "multiply_adds": sum(layer.multiply_adds for layer in last),
            "activation_bytes": sum(4 * prod(layer.output_shape) for layer in last),
        }
        yield (
            keys
            | {name: getattr(spent, name) - value for name, value in share.items()}
            | {f"{name}_per_class": value // CLASSES for name, value in share.items()}
            | {"size": size, "made_for": info.input_shape[0], "stride": max(spent.stride)}
            | {"published": info.published or ""}
        )
        print(*keys.values(), size, flush=True)


def measured() -> str:
    """The table of what was measured."""
    rows = []
    for row in recipes():
        size, channels, classes, images = SETS[row["data"]]
        keys = {"weights": "", "policy": "recipe", "image_size": size, "channels": channels, "classes": classes}
        rows.append({**row, **keys, "images_per_class": images})
    return text(MEASURED, [*rows, *tuned()])


def tuned() -> Iterator[dict]:
    """Of fine-tuning: a row for each set, weights and policy, of several seeds their mean."""
    from scipy import stats

    groups = defaultdict(list)
    for row in read("fine_tuning"):
        if " " not in row["policy"]:  # with a flag it is an experiment
            groups[row["set"], row["weights"], row["policy"]].append(row)
    for (name, weights, policy), found in sorted(groups.items()):
        values, first = [float(row["accuracy"]) for row in found], found[0]
        mean, n, classes = sum(values) / len(values), int(first["test"]), SETS[name][2]
        low, high = stats.binomtest(round(mean * n), n).proportion_ci(method="wilson")
        if len(values) > 1:
            half = stats.t.ppf(0.975, len(values) - 1) * stats.tstd(values) / len(values) ** 0.5
            low, high = max(0.0, mean - half), min(1.0, mean + half)
        model, _, source = weights.partition(":")
        if weights.startswith("squeezenet_v1.1_from"):  # a converted file of the published weights
            model, source = "squeezenet1_1", "imagenet"
        yield {
            "model": model,
            "recipe": "finetune_folder",
            "options": "",
            "weights": "" if policy == "scratch" else source,
            "policy": policy,
            "data": name,
            "image_size": first["image_size"],
            "channels": 3,
            "classes": classes,
            "images_per_class": round(int(first["train"]) / classes),
            "n": n,
            "accuracy": round(mean, 4),
            "low": round(low, 4),
            "high": round(high, 4),
            "seeds": len(values),
            "epochs": "",
            "minutes": round(sum(float(row["seconds"]) for row in found) / len(found) / 60, 1),
            "images_per_second": "",
            "hardware": f"CPU, {first['cores']} cores",
        }


def write(name: str, content: str) -> None:
    """Puts a table where the package has it."""
    TABLES.mkdir(exist_ok=True)
    (TABLES / name).write_text(content, encoding="utf-8")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=["costs", "rows"])
    chosen = parser.parse_args()
    if chosen.table == "costs":
        write("costs.csv", text(COSTS, list(costs())))
    else:
        write("measured.csv", measured())


if __name__ == "__main__":
    main()
