"""`convcraft copy`: a recipe as a file of the user's own, which remembers what it was copied from.

The first line says whence and which version. The last lines hold what was copied, compressed, in comments: without it
nobody could tell the user's own changes from those that a later version makes to the recipe, as no installed package
keeps its old texts. Whoever deletes those lines loses `--diff`, and nothing else.
"""

import argparse
import ast
import base64
import difflib
import pathlib
import re
import shlex
import sys
import zlib
from dataclasses import dataclass

from . import __version__, catalog
from .quiet import import_keras

WITH_MODEL = ", with its model"
HEADER = re.compile(rf"# Copied from the recipe (\w+) of convcraft (\S+?)({WITH_MODEL})?\.\n")
# modules that Keras or we import: a file of such a name beside the run would be taken for them
NEEDED = {"convcraft", "keras", "numpy", "tensorflow", "jax", "torch", "scipy", "sklearn", "matplotlib", "h5py", "PIL"}
FOOTER = "# What was copied, for `convcraft copy --diff`; nothing else reads it:\n"


@dataclass(frozen=True)
class Copy:
    """A file that `convcraft copy` wrote.

    Attributes:
        name: of the recipe.
        version: of convcraft that it was copied from.
        with_model: whether it needs Keras alone.
        original: what was copied; None where its last lines are gone.
        own: its text now, without header and what was copied.
    """

    name: str
    version: str
    with_model: bool
    original: str | None
    own: str


def copy_command(options: argparse.Namespace) -> int:
    """`convcraft copy RECIPE FILE` and `convcraft copy --diff FILE`; the latter returns 1 where there are changes."""
    if options.diff:
        if options.recipe:
            raise ValueError(f"Expected --diff with the file of a copy alone; received {options.recipe!r}, too.")
        return _show_changes(pathlib.Path(options.diff))
    for value, name in ((options.recipe, "RECIPE"), (options.file, "FILE")):
        if value is None:
            raise ValueError(f"Expected: {name}. See `convcraft copy --help`.")
    name = catalog.require(options.recipe, ["recipe"])
    target = pathlib.Path(options.file)
    if target.suffix != ".py":
        raise ValueError(f"Expected FILE to end in .py, received {options.file!r}.")
    if target.exists() and not options.force:
        raise FileExistsError(f"{target} exists already: choose another name, or add --force.")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {target.parent}.")
    content = written(name, options.with_model)
    nodes = [node for node in ast.walk(ast.parse(content)) if isinstance(node, ast.Import | ast.ImportFrom)]
    imported = {each.name for node in nodes for each in node.names} | {getattr(node, "module", None) for node in nodes}
    if target.stem in NEEDED | sys.stdlib_module_names | {each.split(".")[0] for each in imported if each}:
        raise ValueError(f"Expected FILE to have another name than a module it imports, received {options.file!r}.")
    target.write_text(content, encoding="utf-8")
    needs = " It needs Keras, and convcraft no more." if options.with_model else ""
    print(
        f"{target} is yours: change it, and run `python {shlex.quote(str(target))}` (--help shows its options).{needs}"
    )
    return 0


def written(name: str, with_model: bool = False) -> str:
    """The text of a copy: the header, the recipe, and what was copied in comments."""
    text = present(name, with_model)
    header = f"# Copied from the recipe {name} of convcraft {__version__}{WITH_MODEL if with_model else ''}.\n"
    packed = base64.b85encode(zlib.compress(text.encode(), 9)).decode()
    lines = [packed[start : start + 116] for start in range(0, len(packed), 116)]
    return header + text + "\n" + FOOTER + "".join(f"#: {line}\n" for line in lines)


def present(name: str, with_model: bool) -> str:
    """The text of a recipe as this version has it."""
    if with_model:
        import_keras()
        from . import standalone

        return standalone.text(name)
    from convcraft import recipes

    return (pathlib.Path(recipes.__file__).parent / f"{name}.py").read_text(encoding="utf-8")


def read(path: pathlib.Path) -> Copy:
    """What a copy says of itself.

    Raises:
        ValueError: for a file that is none.
        OSError: for a file that is not there.
    """
    try:
        text = path.read_text(encoding="utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no copy of a recipe: it is not UTF-8 text.") from None
    header = HEADER.search(text)
    if header is None:
        raise ValueError(f"{path} is no copy of a recipe: no line says 'Copied from the recipe … of convcraft …'.")
    own, footer, packed = text.partition(FOOTER)
    original = None
    rows = packed.splitlines(keepends=True)
    lines = [line.removeprefix("#: ").rstrip("\n") for line in rows if line.startswith("#: ")]
    if lines:
        try:
            original = zlib.decompress(base64.b85decode("".join(lines))).decode()
        except (ValueError, zlib.error):
            raise ValueError(f"The last lines of {path}, which hold what was copied, are damaged.") from None
    own = own.replace(header[0], "", 1)
    if footer:  # without the empty line before it, and with what somebody wrote behind it
        own = own[:-1] + "".join(line for line in rows if not line.startswith("#: "))
    return Copy(header[1], header[2], header[3] is not None, original, own)


def _show_changes(path):
    """Prints what has changed in the recipe since a copy of it was made; returns 1 if anything has."""
    copy = read(path)
    catalog.require(copy.name, ["recipe"])
    now = present(copy.name, copy.with_model)
    if copy.original is None:
        print(
            f"{path} holds no more what was copied: below, '-' is the file as it is, with your own changes, and '+' "
            f"the recipe {copy.name} of convcraft {__version__}."
        )
    before = copy.own if copy.original is None else copy.original
    changes = list(
        difflib.unified_diff(
            before.splitlines(keepends=True),
            now.splitlines(keepends=True),
            str(path) if copy.original is None else f"{copy.name} of convcraft {copy.version}, as {path} has it",
            f"{copy.name} of convcraft {__version__}",
        )
    )
    print("".join(changes), end="")
    if not changes:
        print(f"{copy.name} is in convcraft {__version__} as it was when {path} was copied (convcraft {copy.version}).")
    if copy.original is not None:
        pairs = difflib.ndiff(copy.original.splitlines(), copy.own.splitlines())
        mine = sum(line[:2] in ("- ", "+ ") for line in pairs)
        if mine:
            print(f"# Your own changes are not shown: {mine} lines of {path} are new or gone.")
    return int(bool(changes))


def copy_arguments(command: argparse.ArgumentParser) -> None:
    """What `convcraft copy` takes."""
    command.usage = "convcraft copy RECIPE FILE [--with-model] [--force]\n       convcraft copy --diff FILE"
    command.add_argument("recipe", metavar="RECIPE", nargs="?", help="its name")
    command.add_argument("file", metavar="FILE", nargs="?", help="the new Python file")
    command.add_argument(
        "--with-model",
        action="store_true",
        help="write architecture and layers into the file, which then needs Keras alone and trains by plain fit",
    )
    command.add_argument("--force", action="store_true", help="write over an existing file")
    command.add_argument("--diff", metavar="FILE", help="what has changed in the recipe since FILE was copied")
