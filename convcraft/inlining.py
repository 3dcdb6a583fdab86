"""Classes and functions of this package as source text that needs the package no more.

`collect` reads the modules that define them, follows every name they use, and returns the definitions in order: what
is not used is left out, imports within the package are resolved, and of each docstring the first paragraph stays.
"""

import ast
import builtins
import functools
import importlib.util
import pathlib
import re
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, field

PACKAGE = "convcraft"
WIDTH = 120


@dataclass
class Inlined:
    """Source text that stands by itself.

    Attributes:
        imports: lines, of what is not ours.
        definitions: each with its comments, what it uses before it.
    """

    imports: set[str] = field(default_factory=set)
    definitions: list[str] = field(default_factory=list)


def collect(roots: Iterable[object]) -> Inlined:
    """The source of classes and functions, with all they need.

    Args:
        roots: defined at the top of modules of this package.

    Raises:
        ValueError: for two definitions of the same name, and what cannot be followed.
    """
    found = Inlined()
    done: dict[str, _Module] = {}
    for root in roots:
        _add(_module(root.__module__), root.__name__, found, done)  # type: ignore[attr-defined]
    return found


def _add(module, name, found, done):
    """Adds a definition, after those that it needs."""
    if name in done:
        if done[name] is not module:
            raise ValueError(f"Two definitions of {name}: in {module.name} and in {done[name].name}.")
        return
    done[name] = module
    statement = module.definitions[name]
    for used in sorted(_names(statement) - {name}):
        if used in module.definitions:
            _add(module, used, found, done)
        elif used in module.ours:
            source, original = module.ours[used]
            if original != used:
                raise ValueError(f"{module.name} imports {original} under another name, {used}.")
            _add(_module(source), used, found, done)
        elif used in module.foreign:
            found.imports.add(module.foreign[used])
        elif not hasattr(builtins, used) and used not in _bound(statement):
            raise ValueError(f"{module.name}: nobody knows what {used} is.")
    found.definitions.append(_text(module, statement))


class _Module:
    """A module of the package: its top-level definitions, and where its imported names come from."""

    def __init__(self, name):
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise ValueError(f"There is no source file of {name}.")
        self.name, path = name, pathlib.Path(spec.origin)
        self.text = path.read_text(encoding="utf-8")
        self.lines = self.text.splitlines()
        self.definitions: dict[str, ast.stmt] = {}
        self.ours: dict[str, tuple[str, str]] = {}
        self.foreign: dict[str, str] = {}
        tree = ast.parse(self.text)
        for statement in ast.walk(tree):
            if isinstance(statement, ast.ImportFrom):
                self._import(statement, statement in tree.body)
        for statement in tree.body:
            if isinstance(statement, ast.ClassDef | ast.FunctionDef):
                self.definitions[statement.name] = statement
            elif isinstance(statement, ast.Assign | ast.AnnAssign):
                targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                self.definitions |= {each.id: statement for each in targets if isinstance(each, ast.Name)}
            elif isinstance(statement, ast.Import):
                for alias in statement.names:
                    as_name = f" as {alias.asname}" if alias.asname else ""
                    self.foreign[alias.asname or alias.name.split(".")[0]] = f"import {alias.name}{as_name}"

    def _import(self, statement, top):
        parent = self.name.rsplit(".", statement.level)[0]
        module = f"{parent}.{statement.module}" if statement.level else statement.module
        for alias in statement.names:
            local = alias.asname or alias.name
            if module.split(".")[0] == PACKAGE:
                self.ours[local] = _exported(module, alias.name)
            elif top:
                as_name = f" as {alias.asname}" if alias.asname else ""
                self.foreign[local] = f"from {module} import {alias.name}{as_name}"


_module = functools.cache(_Module)


def _exported(module, name):
    """The module that defines a name which a lazy package exports."""
    exports = getattr(importlib.import_module(module), "EXPORTS", {})
    return (f"{module}.{exports[name]}" if exports.get(name) else module), name


def _names(statement):
    """The names that a definition reads; those of its own variables among them do no harm."""
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


def _bound(statement):
    """The names that a definition gives itself: variables, arguments, functions and imports within."""
    bound = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for node in ast.walk(statement):
        if isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.ExceptHandler) and node.name:
            bound.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            bound |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    return bound


def _text(module, statement):
    """The lines of a definition: comments above it, shorter docstrings, no imports from this package within."""
    first = min([statement.lineno, *(each.lineno for each in getattr(statement, "decorator_list", []))])
    lines: dict[int, str] = {number: module.lines[number - 1] for number in range(first, _last(statement) + 1)}
    above = first - 1
    while above and module.lines[above - 1].startswith("#"):
        lines[above] = module.lines[above - 1]
        above -= 1
    for node in ast.walk(statement):
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").split(".")[0] == PACKAGE):
            for number in range(node.lineno, _last(node) + 1):
                del lines[number]
        if not isinstance(node, ast.ClassDef | ast.FunctionDef) or ast.get_docstring(node) is None:
            continue
        said = node.body[0]
        if _last(said) > said.lineno:
            paragraph = _paragraph(ast.get_docstring(node), said.col_offset)
            for number in range(said.lineno + 1, _last(said) + 1):
                del lines[number]
            lines[said.lineno] = paragraph
    return "\n".join(lines[number] for number in sorted(lines))


def _last(node):
    """The number of a statement's last line."""
    return node.end_lineno or node.lineno


def _paragraph(docstring, indent):
    """The first paragraph of a docstring, as one."""
    rows = re.split(r"\n\s*\n", docstring)[0].splitlines()
    space = " " * indent
    if len(rows) == 1 and indent + len(rows[0]) + 6 > WIDTH:
        rows = textwrap.wrap(rows[0], WIDTH - 6 - indent)
    ending = f'\n{space}"""' if len(rows) > 1 else '"""'
    return f'{space}"""' + f"\n{space}".join(rows) + ending
