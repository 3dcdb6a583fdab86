"""Taking residual networks apart: which blocks there are, what is lost without one, how much each changes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from convcraft.layers import Model

from .graphs import nodes, signals, weighs
from .tables import table

JOINS = (layers.Add, layers.Average, layers.Maximum)
ENDINGS = ("_join", "_add", "_skip", "_sum", "_bypass")


@dataclass(frozen=True)
class ResidualBlock:
    """A branch beside a shortcut.

    Attributes:
        name: of the block: its join's, without the ending.
        join: name of the layer where both meet.
        shortcut: 0 or 1: which of the join's two inputs is the shortcut.
        projection: whether the shortcut convolves.
        convolutions: on the longest way through the branch.
    """

    name: str
    join: str
    shortcut: int
    projection: bool
    convolutions: int


def residual_blocks(model: keras.Model) -> list[ResidualBlock]:
    """The residual blocks of a network, from the input on.

    They are found by what is connected, not by names: two ways from one place meet again in a sum, mean or maximum, one
    of them with at most one convolution (a projection), the other with more.

    Args:
        model: any functional `keras.Model`; blocks within models inside it are not looked for.

    Returns:
        A list of `ResidualBlock`, empty where there is none.

    Example:
        >>> from convcraft import zoo
        >>> net = zoo.create("resnet20_cifar", design=zoo.Design(width=0.25))
        >>> [block.name for block in residual_blocks(net)][:4]
        ['stage1_block1', 'stage1_block2', 'stage1_block3', 'stage2_block1']
    """
    found = []
    order: dict[int, tuple[int, list[int]]] = {}  # of tensors, by id, as the next two: their dominators make a tree
    parents: dict[int, int | None] = {}
    depth: dict[int | None, int] = {}
    for node in nodes(model):
        sources = [id(tensor) for tensor in signals(node)]
        above = sources[0] if sources else None
        for source in sources[1:]:
            above = _meeting(above, source, parents, depth)
        if isinstance(node.operation, JOINS) and len(sources) == 2 and sources[0] != sources[1]:
            lengths = [_convolutions(order, source, above) for source in sources]
            short = 0 if lengths[0] <= lengths[1] else 1
            if lengths[short] <= 1 and lengths[1 - short] > lengths[short]:
                name = node.operation.name
                ending = next((end for end in ENDINGS if name.endswith(end)), "")
                found.append(
                    ResidualBlock(name.removesuffix(ending), name, short, lengths[short] == 1, lengths[1 - short])
                )
        for tensor in node.output_tensors:
            order[id(tensor)] = (weighs(node.operation), sources)
            parents[id(tensor)] = above
            depth[id(tensor)] = 0 if above is None else depth[above] + 1
    return found


def _meeting(one, other, parents, depth):
    """The nearest place that every way to both tensors passes."""
    while one != other:
        if one is None or other is None:
            return None
        if depth[one] >= depth[other]:
            one = parents[one]
        else:
            other = parents[other]
    return one


def _convolutions(order, end, start):
    """The most convolutions on a way from one tensor to another that all ways to the first pass."""
    longest: dict[Any, int] = {start: 0}
    stack = [end]
    while stack:
        here = stack[-1]
        if here in longest:
            stack.pop()
            continue
        own, sources = order[here]
        missing = [source for source in sources if source not in longest]
        if missing:
            stack.extend(missing)
        else:
            longest[here] = own + max((longest[source] for source in sources), default=0)
            stack.pop()
    return longest[end]


def _wanted(function, model, name):
    blocks = residual_blocks(model)
    names = [name] if isinstance(name, str) else list(name)
    by_name = {block.name: block for block in blocks}
    if len(by_name) < len(blocks):  # names that are not unique: the joins' are
        by_name = {block.join: block for block in blocks}
    for one in names:
        if one not in by_name:
            raise ValueError(
                f"{function}: expected the name of a block with a shortcut, received {one!r}. {model.name!r} has "
                + (f"{', '.join(by_name)}." if by_name else "none.")
            )
    return [by_name[one] for one in names]


def without_block(model: keras.Model, name: str | Sequence[str]) -> Model:
    """The same network with a residual block deleted, of which only the shortcut remains; all weights are shared.

    As in Veit et al., section 4.1, where a trained ResNet lost hardly any accuracy without any one block, and a VGG
    network all of it without any one layer. A block that changes the shape leaves its projection, or what else its
    shortcut does to the shape; a block without a shortcut cannot be deleted.

    Args:
        model: a functional model with residual blocks.
        name: of the block, or a list of several; see `residual_blocks`.

    Returns:
        A `convcraft.Model` that shares its layers with `model`; to be compiled.

    Raises:
        ValueError: for a block that is not there or cannot be deleted.

    Example:
        >>> from convcraft import zoo
        >>> net = zoo.create("resnet20_cifar", design=zoo.Design(width=0.25))
        >>> len(residual_blocks(without_block(net, "stage2_block2")))
        8

    Reference:
        Veit, Wilber, Belongie 2016, "Residual Networks Behave Like Ensembles of Relatively Shallow Networks",
        arXiv 1605.06431, section 4.1.
    """
    deleted = {block.join: block for block in _wanted("without_block", model, name)}
    for node in nodes(model):
        block = deleted.get(node.operation.name)
        if block is not None:
            before, after = signals(node)[block.shortcut].shape, node.output_tensors[0].shape
            if tuple(before) != tuple(after):
                raise ValueError(
                    f"without_block: expected a block whose shortcut can stand alone, received {block.name!r}, whose "
                    f"shortcut is {tuple(before)} where the block puts out {tuple(after)}."
                )

    def call(layer, *args, **kwargs):
        if layer.name in deleted:
            return args[0][deleted[layer.name].shortcut]
        return layer(*args, **kwargs)

    graph = getattr(model, "_functional", None) or model
    bare = keras.models.clone_model(graph, clone_function=lambda layer: layer, call_function=call)
    return Model(bare.input, bare.output, name=model.name)


@dataclass(frozen=True)
class NormRow:
    """A block: its `name`, number (`depth`, from 1), the norms of what `shortcut` and `branch` bring, their `ratio`."""

    name: str
    depth: int
    shortcut: float
    branch: float
    ratio: float


@dataclass(frozen=True)
class Norms:
    """How much each residual block changes: `rows`, from the input on; prints as a table."""

    rows: tuple[NormRow, ...]

    def __str__(self) -> str:
        """A table."""
        rows = [(row.depth, row.name, row.shortcut, row.branch, row.ratio) for row in self.rows]
        return table(("depth", "block", "shortcut", "branch", "ratio"), rows)


def residual_norms(model: keras.Model, images: Any, batch_size: int = 32) -> Norms:
    """How large the residual branches are beside what they are added to, by depth.

    The ratio of the branch's norm to the shortcut's, both taken of each image's whole map where they meet, averaged
    over the images. Small ratios say that a block refines what is there rather than replace it; one near 0 marks a
    block that may be deleted, see `without_block`.

    Args:
        model: a functional model with residual blocks; see `residual_blocks`.
        images: an array as the model takes it, raw 0-255 for those of the zoo.
        batch_size: how many go through it at once.

    Returns:
        `Norms`: its `rows` have `name`, `depth`, `shortcut`, `branch` and `ratio`, and it prints as a table.

    Raises:
        ValueError: for a model without residual blocks.

    Example:
        >>> from convcraft import zoo
        >>> net = zoo.create("resnet20_cifar", design=zoo.Design(width=0.25))
        >>> [row.name for row in residual_norms(net, np.ones((2, 32, 32, 3))).rows][0]
        'stage1_block1'

    Reference:
        Greff, Srivastava, Schmidhuber 2017, "Highway and Residual Networks learn Unrolled Iterative Estimation",
        arXiv 1612.07771; the ratio: Jastrzebski et al. 2017, "Residual Connections Encourage Iterative Inference",
        arXiv 1710.04773.
    """
    blocks = residual_blocks(model)
    if not blocks:
        raise ValueError(f"residual_norms: expected a model with residual blocks, received {model.name!r}, with none.")
    joins = {node.operation.name: signals(node) for node in nodes(model)}
    pairs = [joins[block.join] for block in blocks]
    probe = keras.Model(model.input, [tensor for pair in pairs for tensor in pair])
    images = np.asarray(images)
    sizes = []
    for start in range(0, len(images), batch_size):
        maps = probe(images[start : start + batch_size], training=False)
        sizes.append([_norms(each) for each in maps])
    each = np.concatenate(sizes, axis=1).reshape(len(blocks), 2, -1)
    rows = []
    for depth, (block, both) in enumerate(zip(blocks, each, strict=True), 1):
        shortcut, branch = both[block.shortcut], both[1 - block.shortcut]
        ratio = branch / np.maximum(shortcut, np.finfo("float64").tiny)
        rows.append(NormRow(block.name, depth, float(shortcut.mean()), float(branch.mean()), float(ratio.mean())))
    return Norms(tuple(rows))


def _norms(maps):
    values = np.asarray(ops.convert_to_numpy(ops.cast(maps, "float32")), dtype="float64")
    return np.sqrt((values**2).reshape(len(values), -1).sum(axis=1))
