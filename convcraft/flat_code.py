"""A functional model as Python source: one line a layer, in the order in which one would write it."""

import inspect
import re
from typing import Any

import keras
import numpy as np

NAMES = ["x", "y", "z", "a", "b", "c", "d", "e", "f", "g"]
SHORT = ("kernel_size", "strides", "pool_size", "dilation_rate", "size", "padding")
WIDTH = 120 - 4  # of a line in a function
SKIPPED = {"name", "trainable", "dtype"}


class Writer:
    """Writes functions that build models.

    Attributes:
        needs: our classes and functions that the code calls, by name.
        functions: source text, those of models within layers first.

    Args:
        classes: how many the written models are for: a layer with as many outputs gets `len(classes)`.
    """

    def __init__(self, classes: int):
        self.classes = classes
        self.needs: dict[str, Any] = {}
        self.functions: list[str] = []

    def write(self, model: keras.Model, name: str, doc: str) -> None:
        """Adds the function `name(classes, input_shape)` that builds `model`."""
        order = _in_order(model)
        uses: dict[int, int] = {}  # id of a tensor: how many calls have yet to read it
        for node in order:
            for tensor in node.input_tensors:
                uses[id(tensor)] = uses.get(id(tensor), 0) + 1
        for tensor in model.outputs:
            uses[id(tensor)] = uses.get(id(tensor), 0) + 1
        groups = [_group(node.operation.name) for node in order]
        calls = [node.operation for node in order]
        variables = {id(model.inputs[0]): "x"}
        (given,) = (layer for layer in model.layers if isinstance(layer, keras.layers.InputLayer))
        lines = [f"x = inputs = keras.Input(input_shape, name={_quoted(given.name)})"]
        shared: dict[int, str] = {}
        group = ""
        for node in order:
            layer = node.operation
            if not isinstance(layer, keras.layers.Layer):
                raise ValueError(f"{model.name} calls {layer.name}, which is no layer: it cannot be written as code.")
            if _group(layer.name) != group:
                if max(groups.count(group), groups.count(_group(layer.name))) > 1:
                    lines.append("")
                group = _group(layer.name)
            arguments = ", ".join(
                [
                    *(self._argument(each, variables) for each in node.arguments.args),
                    *(
                        f"{key}={self._argument(each, variables)}"
                        for key, each in node.arguments.kwargs.items()
                        if each is not None and key != "training"
                    ),
                ]
            )
            first = variables[id(node.input_tensors[0])]
            if calls.count(layer) > 1 and id(layer) not in shared:
                shared[id(layer)] = f"shared_{len(shared) + 1}"
                kind, words = self._constructor(layer, first)
                lines += _lines(f"{shared[id(layer)]} = ", kind, words, "")
            for tensor in node.input_tensors:
                uses[id(tensor)] -= 1
            taken = {variables[key] for key, count in uses.items() if count > 0 and key in variables}
            dying = [variables[id(t)] for t in node.input_tensors if variables[id(t)] not in taken]
            target = min(dying or [each for each in NAMES if each not in taken], key=NAMES.index)
            variables[id(node.output_tensors[0])] = target
            if id(layer) in shared:
                lines.append(f"{target} = {shared[id(layer)]}({arguments})")
            else:
                kind, words = self._constructor(layer, first)
                lines += _lines(f"{target} = ", kind, words, f"({arguments})")
        output = variables[id(model.outputs[0])]
        lines.append(f"return keras.Model(inputs, {output}, name={_quoted(model.name)})")
        if "classes" not in " ".join(lines):
            raise ValueError(f"{model.name} has no layer with one output a class.")
        body = "\n".join(f"    {line}" if line else "" for line in lines)
        self.functions.append(f'def {name}(classes, input_shape):\n    """{doc}"""\n{body}')

    def _argument(self, value, variables):
        if isinstance(value, keras.KerasTensor):
            return variables[id(value)]
        if isinstance(value, list | tuple):
            return f"[{', '.join(self._argument(each, variables) for each in value)}]"
        return self._code(value)

    def _constructor(self, layer, variable):
        """(class, arguments) as text, with those arguments only that are not the default."""
        own = {
            key: getattr(layer, key)
            for key in inspect.signature(type(layer).__init__).parameters
            if isinstance(getattr(layer, key, None), keras.Model)
        }
        words = []
        for net in own.values():
            self.write(net, net.name, f"The network within {layer.name}.")
            words.append(f"{net.name}(classes, {variable}.shape[1:])")
        positional, named = _arguments(type(layer), layer.get_config(), own)
        words += [self._value(key, value) for key, value in positional.items()]
        words += [f"{key}={self._value(key, value)}" for key, value in named.items()]
        words.append(f"name={_quoted(layer.name)}")
        return self._class(type(layer)), words

    def _value(self, key, value):
        if key in ("units", "filters") and value == self.classes:
            return "len(classes)"
        if key == "names" and isinstance(value, list) and len(value) == self.classes:
            return "classes"
        if key in SHORT and isinstance(value, list | tuple):
            flat = np.ravel(value).tolist()
            if len(set(flat)) == 1:
                return repr(flat[0])
        return self._code(value)

    def _code(self, value):
        """A value of a configuration as source text."""
        if isinstance(value, dict) and "class_name" in value:
            made: Any = keras.saving.deserialize_keras_object(value)
            if inspect.isfunction(made):
                return self._class(made)
            positional, named = _arguments(type(made), value["config"])
            module = value.get("module") or ""
            if not positional and not named and module == "keras.initializers":
                short = re.sub(r"(?<!^)(?=[A-Z])", "_", value["class_name"]).lower()
                if isinstance(keras.initializers.get(short), type(made)):
                    return _quoted(short)
            words = [self._code(each) for each in positional.values()]
            words += [f"{key}={self._code(each)}" for key, each in named.items()]
            return f"{self._class(type(made))}({', '.join(words)})"
        if isinstance(value, np.ndarray):
            value = value.tolist()
        if isinstance(value, list | tuple):
            inner = ", ".join(self._code(each) for each in value)
            return f"[{inner}]" if isinstance(value, list) else f"({inner}{',' * (len(value) == 1)})"
        if isinstance(value, str):
            return _quoted(value)
        return repr(value)

    def _class(self, kind: Any) -> str:
        """The name by which the code calls a class or a function."""
        name = kind.__name__
        if not kind.__module__.startswith("keras."):
            self.needs[name] = kind
            return name
        for place in ("layers", "initializers", "regularizers", "constraints"):
            if getattr(getattr(keras, place), name, None) is kind:
                return f"layers.{name}" if place == "layers" else f"keras.{place}.{name}"
        raise ValueError(f"{name} of {kind.__module__} has no public name in Keras.")


def _arguments(kind, config, given=None):
    """(positional, named): the required arguments, and of the others those that make a difference."""
    given = given or {}
    parameters = inspect.signature(kind.__init__).parameters.values()
    required = [
        p.name
        for p in parameters
        if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD and p.name not in ("self", *given)
    ]
    positional = {key: config[key] for key in required if key in config}
    named: dict[str, Any] = {}
    try:
        while True:  # one argument may set the default of another, as a window its stride
            plain = kind(**given, **positional, **named).get_config()
            left = [key for key in config if key not in {*SKIPPED, *positional, *named, *given}]
            key = next((key for key in left if _plain(plain.get(key)) != _plain(config[key])), None)
            if key is None:
                return positional, named
            named[key] = config[key]
    except ValueError:  # some that go together
        defaults = {p.name: p.default for p in parameters if p.name in config and p.name not in positional}
        return positional, {key: config[key] for key in defaults if _plain(defaults[key]) != _plain(config[key])}


def _plain(value):
    """For comparing configurations: lists for tuples and arrays."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items() if key != "build_config"}
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _in_order(model):
    """The calls of a model, each branch to its end before the next begins."""
    graph = getattr(model, "_functional", None) or model
    made = {
        id(tensor): node for nodes in graph._nodes_by_depth.values() for node in nodes for tensor in node.output_tensors
    }
    order: list[Any] = []
    done: set[int] = set()
    waiting = [(tensor, False) for tensor in reversed(model.outputs)]
    while waiting:
        tensor, ready = waiting.pop()
        node = made[id(tensor)]
        if id(node) in done or not node.input_tensors:
            continue
        if ready:
            done.add(id(node))
            order.append(node)
        else:
            waiting.append((tensor, True))
            waiting += [(each, False) for each in reversed(node.input_tensors)]
    return order


def _lines(start, name, words, end):
    """A call as one line of source, or several where it is too long, as formatters break it."""
    whole = f"{start}{name}({', '.join(words)}){end}"
    if len(whole) <= WIDTH:
        return [whole]
    inner = f"    {', '.join(words)}"
    rows = [inner] if len(inner) <= WIDTH else [f"    {word}," for word in words]
    return [f"{start}{name}(", *rows, f"){end}"]


def _quoted(text):
    return repr(text) if '"' in text else f'"{text}"'


def _group(name):
    """The block that a layer's name says it belongs to: `stage1_block2` of `stage1_block2_conv1`."""
    parts = name.split("_")
    return "_".join(parts[: 2 if len(parts) > 2 and re.fullmatch(r"block\d+", parts[1]) else 1])
