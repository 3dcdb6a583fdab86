"""What there is, by name: read from the source files as text, so that neither Keras nor TensorFlow is loaded."""

import ast
import difflib
import pathlib
from collections.abc import Sequence

import convcraft

KINDS = ("recipe", "model", "layer")


def entries(kind: str) -> dict[str, str]:
    """All names of a kind with a one-line summary.

    Args:
        kind: "recipe", "model" or "layer".

    Returns:
        A dictionary, name to summary.
    """
    if kind == "model":
        from convcraft.zoo import index

        return {name: _summary("zoo", index.BUILDERS[builder]) for name, builder in index.NAMES.items()}
    package = {"recipe": "recipes", "layer": "layers"}[kind]
    exports = getattr(convcraft, package).EXPORTS
    if kind == "recipe":
        return {name: _summary(package, name) for name in exports}
    return {name: _summary(package, module, name) for name, module in exports.items() if module}


def require(name: str, kinds: Sequence[str] = KINDS) -> str:
    """`name` as it is spelled in the catalog; fancy_pca finds FancyPCA.

    Raises:
        ValueError: if there is nothing of that name, with the nearest.
    """
    known = {entry.lower(): entry for kind in kinds for entry in entries(kind)}
    if name.lower() in known:
        return known[name.lower()]
    plain = {entry.replace("_", ""): spelled for entry, spelled in known.items()}
    if name.lower().replace("_", "") in plain:
        return plain[name.lower().replace("_", "")]
    near = [entry for entry in known if name.lower() in entry and name[2:]]
    near += difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    what = " or ".join((", ".join(kinds[:-1]), kinds[-1])) if len(kinds) > 1 else kinds[0]
    hint = f"Did you mean {known[near[0]]!r}?" if near else "`convcraft list` shows what there is."
    raise ValueError(f"There is no {what} named {name!r}. {hint}")


def kind_of(name: str) -> str:
    """The kind of a name that `require` returned."""
    return next(kind for kind in KINDS if name in entries(kind))


def docstring(package: str, module: str, definition: str | None = None) -> str:
    """The docstring of a module, or of a class or function in it, without importing it."""
    path = pathlib.Path(getattr(convcraft, package).__file__).parent / f"{module}.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if definition is None:
        return ast.get_docstring(tree) or ""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == definition:
            return ast.get_docstring(node) or ""
    return ""


def _summary(package, module, definition=None):
    return docstring(package, module, definition).split("\n")[0]
