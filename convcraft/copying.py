"""`convcraft copy`: a recipe as a file of the user's own."""

import argparse
import pathlib

from . import __version__, catalog


def copy_command(options: argparse.Namespace) -> None:
    """`convcraft copy RECIPE FILE`."""
    name = catalog.require(options.recipe, ["recipe"])
    target = pathlib.Path(options.file)
    if target.suffix != ".py":
        raise ValueError(f"Expected FILE to end in .py, received {options.file!r}.")
    if target.exists() and not options.force:
        raise FileExistsError(f"{target} exists already: choose another name, or add --force.")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {target.parent}.")
    from convcraft import recipes

    source = pathlib.Path(recipes.__file__).parent / f"{name}.py"
    header = f"# Copied from the recipe {name} of convcraft {__version__}.\n"
    target.write_text(header + source.read_text(encoding="utf-8"), encoding="utf-8")
    print(f"{target} is yours: change it, and run `python {target}` (--help shows its options).")


def copy_arguments(command: argparse.ArgumentParser) -> None:
    """What `convcraft copy` takes."""
    command.add_argument("recipe", metavar="RECIPE", help="its name")
    command.add_argument("file", metavar="FILE", help="the new Python file")
    command.add_argument("--force", action="store_true", help="write over an existing file")
