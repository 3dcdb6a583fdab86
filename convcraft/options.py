"""A recipe's command-line options, read from its dataclass by tyro."""

import contextlib
import dataclasses
import difflib
import inspect
import io
import re
import textwrap
import typing

Options = typing.TypeVar("Options", bound=typing.Any)
KINDS = {int: "a whole number", float: "a number"}
OR_AUTO = ("batch_size",)  # numbers that may be left to the program


def recipe_options(config_class: type[Options], arguments: list[str], prog: str) -> Options:
    """A recipe's `Config` from command-line options.

    Args:
        config_class: a dataclass; its fields become options, the comments on them their help.
        arguments: list of words.
        prog: how the command was called, for the help.

    Raises:
        ValueError: one sentence, for options it has not, or cannot read.
    """
    import tyro

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            config, rest = tyro.cli(_explained(config_class), args=arguments, prog=prog, return_unknown_args=True)
    except SystemExit as leaving:
        if not leaving.code:  # --help
            raise
        complaint = _bad_value(config_class, arguments) or _flattened(said.getvalue())
        raise ValueError(f"{complaint} See `{prog} --help`.") from None
    if rest:
        raise ValueError(f"{_unknown(config_class, rest)} See `{prog} --help`.")
    return config_class(**{field.name: getattr(config, field.name) for field in dataclasses.fields(config_class)})


def flag(name):
    """A field's name as it is typed: `--batch-size`."""
    return "--" + name.replace("_", "-")


def comments(config_class):
    """Each field's comment, above it or behind it.

    Where a subclass gives a field another default, its comment follows that of the class that introduced the field.
    """
    found: dict[str, str] = {}
    for owner in reversed(config_class.__mro__):
        if "__dataclass_fields__" not in vars(owner):
            continue
        try:
            lines = textwrap.dedent(inspect.getsource(owner)).splitlines()
        except (OSError, TypeError):  # made without a source file
            continue
        above: list[str] = []
        for line in lines:
            field = re.match(r" {4}(\w+) *:", line)
            if comment := re.match(r" {4}#+ *(.*)", line):
                above.append(comment[1])
                continue
            if field and field[1] in owner.__annotations__:
                behind = re.search(r"  # *(.*)$", line)
                text = " ".join([*above, *([behind[1]] if behind else [])])
                found[field[1]] = "; ".join(filter(None, [found.get(field[1]), text]))
            above = []
    return found


def _explained(config_class):
    """The same dataclass with its comments as tyro's help: tyro itself forgets those of a field that is redefined."""
    import tyro

    types, texts = typing.get_type_hints(config_class, include_extras=True), comments(config_class)
    fields = []
    for field in dataclasses.fields(config_class):
        default = dataclasses.field(default=field.default, default_factory=field.default_factory)
        explained: typing.Any = typing.Annotated
        kind = types[field.name]
        if field.name in OR_AUTO:
            kind = kind | typing.Literal["auto"]
        kind = explained[kind, tyro.conf.arg(help=texts.get(field.name, ""))]
        fields.append((field.name, kind, default))
    return dataclasses.make_dataclass(config_class.__name__, fields, namespace={"__doc__": ""})


def _words(arguments):
    """Pairs of an option and its value, or None where another option or nothing follows."""
    for word, following in zip(arguments, [*arguments[1:], None], strict=True):
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            has_value = following is not None and not following.startswith("--")
            yield name.replace("_", "-"), value if equals else following if has_value else None


def _bad_value(config_class, arguments):
    """What is wrong with the first value that does not fit its option; empty where all seem to fit."""
    types = {flag(name): kind for name, kind in typing.get_type_hints(config_class).items()}
    for name, value in _words(arguments):
        kind = types.get(name)
        if kind in (int, float, str) and value is None:
            return f"Expected {KINDS.get(kind, 'a value')} after {name}."
        if kind in KINDS:
            if value == "auto" and name.removeprefix("--").replace("-", "_") in OR_AUTO:
                continue
            try:
                kind(value)
            except ValueError:
                return f"Expected {name} to be {KINDS[kind]}; received {value!r}."
        if kind is bool and value is not None:
            return f"Expected {name} or {name.replace('--', '--no-', 1)}, without a value; received {value!r}."
    return ""


def _unknown(config_class, rest):
    """What to say of words that are no options."""
    kinds = {flag(field.name): field.type for field in dataclasses.fields(config_class)}
    for word in rest:
        name = word.split("=")[0]
        if name.startswith("-"):
            negated = [option.replace("--", "--no-", 1) for option, kind in kinds.items() if kind in (bool, "bool")]
            known = [*kinds, *negated]
            near = difflib.get_close_matches(name.replace("_", "-"), known, n=1, cutoff=0.7)
            return f"There is no option {name}." + (f" Did you mean {near[0]}?" if near else "")
    return f"Expected options only; received {rest[0]!r}."


def _flattened(text):
    """What tyro says in a box over several lines, as one line without its title and its pointer to the help."""
    lines = [re.sub(r"\x1b\[[0-9;]*m|[─━│╭╮╰╯┌┐└┘]", " ", line) for line in text.splitlines()]
    said = re.sub(r"\s+", " ", " ".join(lines[1:] if len(lines) > 1 else lines)).strip()
    return re.split(r" ?(?:For full helptext|Argument helptext)", said)[0].rstrip(".") + "."
