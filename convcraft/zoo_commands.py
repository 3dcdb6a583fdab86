"""The commands that show and make models of the zoo: `convcraft info MODEL | explain | draw | convert | verify`."""

import argparse
import pathlib

from . import catalog
from .quiet import import_keras


def model_info(name: str) -> None:
    """`convcraft info MODEL`."""
    import_keras()
    from convcraft import zoo

    info = zoo.info(name)
    rows = {
        "source": f"{info.source} ({info.year})",
        "input": f"{'x'.join(map(str, info.input_shape))}, raw 0-255; {info.classes} classes",
        "parameters": f"{info.parameters:,} trainable, {info.total:,} in all",
        "multiply-adds": f"{info.multiply_adds:,} an image",
        "sees": f"{info.cost.receptive_field[0]} pixels across, in steps of {info.cost.stride[0]}",
        "weights": ", ".join(info.weights) or "none published",
        "published": info.published or "nothing that we know of",
        "deviations": info.deviations or "none",
        "knobs": ", ".join(info.knobs),
    }
    print(f"{info.name}, a model: zoo.create({info.name!r}, classes=…)\n\n{info.summary}\n")
    for key, value in rows.items():
        print(f"  {key:<15}{value}")


def explain_command(options: argparse.Namespace) -> None:
    """`convcraft explain MODEL`."""
    name = catalog.require(options.name, ["model"])
    import_keras()
    from convcraft import zoo

    print(zoo.explain(name))


def draw_command(options: argparse.Namespace) -> None:
    """`convcraft draw MODEL OUT.svg`."""
    name, target = catalog.require(options.name, ["model"]), pathlib.Path(options.out)
    if target.suffix != ".svg":
        raise ValueError(f"Expected OUT to end in .svg, received {options.out!r}.")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {target.parent}.")
    import_keras()
    from convcraft import zoo

    zoo.draw(zoo.create(name), target)
    print(target)


def convert_command(options: argparse.Namespace) -> None:
    """`convcraft convert MODEL SOURCE OUT.keras`."""
    name, target = catalog.require(options.name, ["model"]), pathlib.Path(options.out)
    if target.suffix != ".keras":
        raise ValueError(f"Expected OUT to end in .keras, received {options.out!r}.")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {target.parent}.")
    if not pathlib.Path(options.source).is_file():
        raise FileNotFoundError(f"There is no file {options.source!r}.")
    import_keras()
    from convcraft import zoo

    shape = {"input_shape": (options.size, options.size, 3)} if options.size else {}
    model = zoo.convert(name, options.source, mean=options.mean, std=options.std, **shape)
    model.save(target)
    print(f"{target}: {name}, {model.count_params():,} parameters, {model.output_shape[-1]} classes; takes raw images.")


def explain_arguments(command: argparse.ArgumentParser) -> None:
    """What `convcraft explain` takes."""
    command.add_argument("name", metavar="MODEL", help="of the zoo, as resnet50")


def draw_arguments(command: argparse.ArgumentParser) -> None:
    """What `convcraft draw` takes."""
    command.add_argument("name", metavar="MODEL", help="of the zoo, as resnet50")
    command.add_argument("out", metavar="OUT", help="the new .svg file")


def convert_arguments(command: argparse.ArgumentParser) -> None:
    """What `convcraft convert` takes."""
    command.add_argument("name", metavar="MODEL", help="of the zoo, as resnet50")
    command.add_argument("source", metavar="SOURCE", help="weights: .pth, .safetensors, .npz or Keras's .h5")
    command.add_argument("out", metavar="OUT", help="the new .keras file")
    command.add_argument("--size", type=int, help="height and width of its images (default: the paper's)")
    for name, described in (("mean", "of the source's images, from 0 to 255"), ("std", "by which they were divided")):
        described += " (default: the source's usual)"
        command.add_argument(f"--{name}", type=float, nargs=3, metavar=("R", "G", "B"), help=described)


def verify_command(options: argparse.Namespace) -> int:
    """`convcraft verify [NAME …]`; returns 1 where a card does not hold, else 0."""
    from convcraft.zoo import shipped

    names = options.names or [shipped.stem(card) for card in shipped.cards()]
    for name in names:
        shipped.named(name)  # unknown ones are refused before the first is measured
    import_keras()
    from convcraft import training

    failed = 0
    for name in names:
        verified = training.verify(name, options.data)
        failed += not verified.ok
        print(verified, flush=True)
    return min(failed, 1)


def verify_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `convcraft verify`."""
    command.add_argument("names", nargs="*", metavar="NAME", help="MODEL:WEIGHTS, or a file's name; without, all")
    command.add_argument("--data", help="where the data lie; else $CONVCRAFT_DATA/NAME.npz of the card's data")
