"""Writes the tables of docs/recipes.md from the recipes' own files and models: `python docs/recipes.py`.

`python docs/recipes.py --check` writes nothing and fails where the page is out of date.
"""

import ast
import importlib
import inspect
import pathlib
import re
import sys
from types import SimpleNamespace

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/recipes.md"
sys.path.insert(0, str(ROOT / "benchmarks"))  # for marks.py
from marks import between  # noqa: E402

# Why a recipe uses a layer, where the layer's own first line does not say it.
WHY = {
    "AuxiliaryClassifier": "trains the first half where gradients are weak, and is gone at inference",
    "BootstrappedCrossentropy": "trusts its own prediction where labels are wrong; smooths labels",
    "CeilMaxPooling2D": "pools the last odd row and column, too, as Caffe's files do",
    "CompetitiveConv2D": "kernels of several sizes, of which the largest answer wins",
    "DropPath": "leaves out a residual branch of an image at random",
    "FancyPCA": "changes the light's colour and strength as photographs do",
    "FractalJoin": "a mean of columns, some of which are dropped in training",
    "FractalPath": "global drop-path: one draw a batch, of the column that all joins keep",
    "FreezeDropPath": "trains one branch a batch, with those before it frozen and those after it dropped",
    "GroupedConv2D": "AlexNet's two groups of channels, quick on processors, too",
    "HSVJitter": "changes hue, saturation and value of each image",
    "LocalResponseNormalization": "AlexNet's and GoogLeNet's normalization, before there was a better",
    "MaxNorm": "bounds each filter, so that high rates cannot blow it up",
    "Maxout": "the largest of several linear maps, an activation that is learned",
    "MixUpCutMix": "mixes images and their labels",
    "OneCycle": "a rate that rises, then falls to nothing: few epochs",
    "PadShortcut": "the shortcut of the first ResNets, without weights",
    "PReLU": "learns the slope of negative inputs, from 0.1 on",
    "RandomAffine": "shifts, turns, zooms and mirrors in one resampling",
    "RandomResizedCrop": "crops of random place, size and shape, the augmentation of ImageNet",
    "RandomTransform": "a random choice of changes in place of a larger data set",
    "RReLU": "a random slope of negative inputs, as noise against overfitting",
    "SameAveragePooling2D": "average pooling that is alike on all backends",
    "SlidingDense": "a dense layer that also takes larger images",
    "Whitening": "a first layer without correlations between neighbouring pixels",
}
COMMON = {"Model", "ClassNames", "BatchNormalization"}  # every model has them
# What a recipe names by a string or gets by an option
SAID = {'"fancy_pca"': "FancyPCA", '"onecycle"': "OneCycle"}


def why(layer: str) -> str:
    """Why it is there."""
    from convcraft import catalog

    said = catalog.entries("layer").get(layer, "")
    return WHY.get(layer) or said[:1].lower() + said[1:].rstrip(".")


def recipes() -> list[str]:
    """Names of all recipes."""
    from convcraft import catalog

    return list(catalog.entries("recipe"))


def docstring(name: str) -> str:
    """A recipe's docstring."""
    return ast.get_docstring(ast.parse((ROOT / f"recipes/{name}.py").read_text(encoding="utf-8"))) or ""


def field(name: str, label: str) -> str:
    """One part of a recipe's docstring, on one line."""
    found = re.search(rf"^{label} +(.*(?:\n +.*)*)", docstring(name), re.M)
    return " ".join(found[1].split()) if found else ""


def named_layers(name: str) -> set[str]:
    """Layers that a recipe's file names: `layers.X`, or by a string."""
    text = (ROOT / f"recipes/{name}.py").read_text(encoding="utf-8")
    uses = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute))
    found = {node.attr for node in uses if isinstance(node.value, ast.Name) and node.value.id == "layers"}
    classes = {name for name in found if name[:1].isupper()}
    return (classes | {layer for said, layer in SAID.items() if said in text}) - COMMON


def model_of(name: str):
    """The model that a recipe builds with its defaults, for ten classes; None where it takes one from elsewhere."""
    import keras

    module = importlib.import_module(f"convcraft.recipes.{name}")
    build = getattr(module, "model", None)
    if build is None or list(inspect.signature(build).parameters) != ["config", "images"]:
        return None
    config = module.Config()
    size = config.image_size or (64 if "tinyimagenet" in name else 32)
    images = SimpleNamespace(class_names=[f"class {i}" for i in range(10)], image_shape=(size, size, 3))
    try:
        made = build(config, images)
    except (AttributeError, KeyError, TypeError, ValueError):  # it needs real images, or weights
        return None
    return made if isinstance(made, keras.Model) else None


def layers_of(name: str) -> tuple[set[str], str]:
    """Layers of ours that a recipe uses, by its file and in its model, and the model's name."""
    found, model = named_layers(name), model_of(name)
    config = importlib.import_module(f"convcraft.recipes.{name}").Config()
    if getattr(config, "label_smoothing", 0) > 0:
        found.add("BootstrappedCrossentropy")
    if model is None:
        return found, ""
    for layer in model._flatten_layers():
        if type(layer).__module__.startswith("convcraft.layers"):
            found.add(type(layer).__name__)
        if type(getattr(layer, "kernel_constraint", None)).__module__.startswith("convcraft.layers"):
            found.add("MaxNorm")
    return found - COMMON, model.name


def tables() -> dict[str, str]:
    """The page's two tables, by name."""
    used = {name: layers_of(name) for name in recipes()}
    rows = [
        f"| [`{name}`](../recipes/{name}.py) | {f'`{model}`' if model else 'any'} | {field(name, 'Teaches')} | "
        f"{', '.join(f'`{layer}`' for layer in sorted(found, key=str.lower)) or 'Keras’s alone'} |"
        for name, (found, model) in used.items()
    ]
    by_recipe = ["| recipe | model | what it teaches | layers of ours |", "|---|---|---|---|", *rows]
    rows = []
    for layer in sorted(set().union(*(found for found, _ in used.values())), key=str.lower):
        where = ", ".join(f"`{name}`" for name, (found, _) in used.items() if layer in found)
        rows.append(f"| `{layer}` | {why(layer)} | {where} |")
    by_layer = ["| layer | why it is there | in the recipes |", "|---|---|---|", *rows]
    return {"table of recipes": "\n".join(by_recipe), "table of layers": "\n".join(by_layer)}


def page() -> str:
    """The page, its tables made anew."""
    text = PAGE.read_text(encoding="utf-8")
    for name, table in tables().items():
        text = between(text, name, "docs/recipes.py", table)
    return text


def main() -> None:
    """See the module."""
    if "--check" not in sys.argv:
        PAGE.write_text(page(), encoding="utf-8")
    elif page() != PAGE.read_text(encoding="utf-8"):
        sys.exit("docs/recipes.md is out of date: python docs/recipes.py")


if __name__ == "__main__":
    main()
