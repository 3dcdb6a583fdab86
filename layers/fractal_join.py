"""FractalNet's joins with local and global drop-path (Larsson et al. 2017, arXiv 1605.07648)."""

import zlib
from collections.abc import Sequence
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from .base import Shape, Tensor, is_number, register, replica_id
from .chooser import Chooser
from .draws import fold, image_seeds, uniform

JOINS = ("mean", "sum", "max")
LOCAL = -1  # in place of a column's number: every join drops on its own


@register
class FractalPath(Chooser):
    """Draws, once a batch for the whole net, whether all joins keep one column, and which.

    Call it on the net's input and hand its output to every `FractalJoin` of the net. In a `convcraft.Model`, a batch
    that keeps one column computes only that column.

    Args:
        columns: number of columns of the net.
        global_drop_path: probability that a batch (or an image) keeps one column, uniformly drawn; the others leave it
            to the joins to drop some of their inputs.
        per: "batch"; or "sample", a draw for each image, which must compute everything and mask.
        seed: integer or None.

    Call: `(inputs, training=None)`: any tensor with the batch first; int32 of shape (1, 2) or (n, 2) out: the column
    (-1 for local drop-path) and random bits for the joins.

    Example:
        >>> path = FractalPath(columns=3, seed=0)
        >>> np.asarray(path(np.zeros((8, 4)))).tolist()  # at inference nothing is dropped
        [[-1, 0]]

    Reference:
        Larsson, Maire, Shakhnarovich 2017, "FractalNet", section 3.
    """

    def __init__(
        self,
        columns: int,
        global_drop_path: float = 0.5,
        per: Literal["batch", "sample"] = "batch",
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if isinstance(columns, bool) or not isinstance(columns, int) or columns < 1:
            raise ValueError(f"FractalPath: expected columns to be a positive integer, received {columns!r}.")
        self.columns = columns
        self.global_drop_path = _probability("FractalPath", "global_drop_path", global_drop_path)
        self.per = _per("FractalPath", per)
        self.choose_by(seed)

    @property
    def odds(self) -> Sequence[float]:
        """Of local drop-path, then of each column."""
        return [1 - self.global_drop_path, *[self.global_drop_path / self.columns] * self.columns]

    @property
    def skips(self) -> bool:
        """Whether `Model` can leave out what the choice does not need."""
        return self.per == "batch" and self.global_drop_path > 0

    def leaves_out(self, choice: int) -> bool:
        """Whether `choice` needs less than everything: a column does, local drop-path does not."""
        return choice > 0

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        """Draws; see the class."""
        if not training:
            return ops.convert_to_tensor(np.array([[LOCAL, 0]], "int32"))
        choice, bits = self.draw()
        if self.per == "batch":
            return ops.reshape(ops.stack([choice + LOCAL, bits]), (1, 2))
        replica = replica_id()
        seeds = fold(image_seeds(0, ops.shape(inputs)[0]) + bits, 0 if replica is None else replica)
        draws = ops.cast(uniform(seeds, 1) * float(2**24), "int32")
        columns = ops.sum(ops.cast(draws >= ops.convert_to_tensor(self._thresholds()), "int32"), axis=1) + LOCAL
        return ops.stack([columns, seeds], axis=1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(1, 2) or (n, 2)."""
        return (1 if self.per == "batch" else input_shape[0], 2)

    def compute_output_spec(self, inputs: Tensor, training: bool | None = None) -> keras.KerasTensor:
        """int32, whatever the layer's dtype."""
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype="int32")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("columns", "global_drop_path", "per", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@register
class FractalJoin(Chooser):
    """Joins the columns of a fractal net; in training it drops some of them.

    Local drop-path drops each input with probability `drop_path`, independently; if none is left, one of them, drawn
    uniformly, is restored. Global drop-path keeps one column in all joins of the net: the `FractalPath` that they
    share says which. At inference every input counts, and nothing is rescaled.

    Drop-path keeps columns from relying on each other, so that each works alone; it slows the first epochs down. With
    strong augmentation the paper reports no gain from it (CIFAR-100+: 23.73 against 23.30 % errors).

    Args:
        drop_path: probability that an input is dropped by itself.
        join: "mean" of the survivors (the paper's), "sum", or "max".
        global_drop_path: probability that one column is kept, for a join that is called without a `FractalPath`.
        column: None; or the number of the only column to pass, in training and at inference, which extracts that
            column as a plain network.
        per: "batch" or "sample", for a join that is called without a `FractalPath`.
        seed: integer or None.

    Call: `(inputs, path=None, training=None)`: a list of tensors of equal shape, input i belonging to column i, and
    the output of a `FractalPath`. Where a join has fewer inputs than the column's number, it is not on that column's
    way: nobody reads it in that step, and it passes its ordinary join, so that what follows keeps its statistics.
    The shape and dtype of one input out.

    Example:
        >>> x = np.ones((2, 4, 4, 8), "float32")
        >>> float(np.mean(FractalJoin()([x, 3 * x])))
        2.0

    Reference:
        Larsson, Maire, Shakhnarovich 2017, "FractalNet", section 3, with the authors' choice of one draw a minibatch.
    """

    def __init__(
        self,
        drop_path: float = 0.15,
        join: Literal["mean", "sum", "max"] = "mean",
        global_drop_path: float = 0.5,
        column: int | None = None,
        per: Literal["batch", "sample"] = "batch",
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if join not in JOINS:
            raise ValueError(f"FractalJoin: expected join to be one of {', '.join(JOINS)}; received {join!r}.")
        if column is not None and (isinstance(column, bool) or not isinstance(column, int) or column < 0):
            raise ValueError(f"FractalJoin: expected column to be None or an integer from 0 on, received {column!r}.")
        self.drop_path = _probability("FractalJoin", "drop_path", drop_path)
        self.global_drop_path = _probability("FractalJoin", "global_drop_path", global_drop_path)
        self.join = join
        self.column = column
        self.per = _per("FractalJoin", per)
        self.choose_by(seed)
        self.columns: int | None = None

    # without a FractalPath, the join is its own
    odds = FractalPath.odds
    skips = FractalPath.skips
    leaves_out = FractalPath.leaves_out

    def call(self, inputs: Sequence[Tensor], path: Tensor | None = None, training: bool | None = None) -> Tensor:
        """Joins; see the class."""
        inputs = joined_inputs("FractalJoin", inputs)
        if self.column is not None and self.column < len(inputs):
            return inputs[self.column]
        if not training:
            return self._join(inputs, None)
        if path is None:
            self.columns = len(inputs)
            path = FractalPath.call(self, inputs[0], training=True)
        return self._join(inputs, self.survivors(path, len(inputs)))

    def survivors(self, path: Tensor, count: int) -> Tensor:
        """bool (1 or n, count): which inputs are joined, for the output of a `FractalPath`."""
        column = ops.expand_dims(path[:, 0], 1)
        # every join has a stream of its own
        own = zlib.crc32(self.name.encode()) if self.seed is None else self.seed
        draws = uniform(fold(path[:, 1], own), count + 1)
        kept = draws[:, :count] >= self.drop_path
        index = ops.reshape(ops.arange(count, dtype="int32"), (1, count))
        restored = ops.cast(draws[:, count:] * float(count), "int32") == index
        local = ops.where(ops.any(kept, axis=1, keepdims=True), kept, restored)
        return ops.where(column < 0, local, ops.where(column < count, index == column, True))

    def branch(self, inputs: Sequence[Tensor], choice: int) -> Tensor | None:
        """What `call` gives for a choice of the path, by what it needs alone; None where it needs everything."""
        inputs = joined_inputs("FractalJoin", inputs)
        column = choice + LOCAL if self.column is None else self.column
        return inputs[column] if 0 <= column < len(inputs) else None

    trained = branch

    def _join(self, inputs: Sequence[Tensor], survivors: Tensor | None) -> Tensor:
        terms, count = list(inputs), len(inputs)
        if survivors is not None:
            shape = (-1, *[1] * (len(inputs[0].shape) - 1))
            absent = ops.cast(-float("inf") if self.join == "max" else 0.0, inputs[0].dtype)
            # where and not a product: what was dropped leaves no NaN behind
            terms = [ops.where(ops.reshape(survivors[:, i], shape), x, absent) for i, x in enumerate(inputs)]
            count = ops.reshape(ops.sum(ops.cast(survivors, "float32"), axis=1), shape)
        result = terms[0]
        for term in terms[1:]:
            result = ops.maximum(result, term) if self.join == "max" else result + term
        if self.join == "mean" and len(inputs) > 1:
            result = ops.divide(result, ops.cast(count, result.dtype))
        return result

    def compute_output_shape(self, input_shape: Sequence[Shape], path_shape: Shape | None = None) -> Shape:
        """That of one input."""
        first: Shape = joined_inputs("FractalJoin", input_shape)[0]
        return first

    def compute_output_spec(
        self, inputs: Sequence[Tensor], path: Tensor | None = None, training: bool | None = None
    ) -> keras.KerasTensor:
        """That of one input."""
        inputs = joined_inputs("FractalJoin", inputs)
        self.columns = len(inputs)
        return keras.KerasTensor(inputs[0].shape, dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("drop_path", "join", "global_drop_path", "column", "per", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def joined_inputs(layer: str, inputs: Any) -> list[Any]:
    """The list of inputs or of shapes, all alike, or a clear error."""
    if not isinstance(inputs, list | tuple) or not inputs or isinstance(inputs[0], int | None):
        raise ValueError(f"{layer}: expected a list of tensors of equal shape, received {inputs!r}.")
    shapes = {tuple(x if isinstance(x, list | tuple) else x.shape) for x in inputs}
    sizes = zip(*shapes, strict=False)  # None, an unknown size, equals any
    if len({len(shape) for shape in shapes}) > 1 or any(len({n for n in size if n}) > 1 for size in sizes):
        raise ValueError(f"{layer}: expected inputs of equal shape, received {sorted(map(str, shapes))}.")
    return list(inputs)


def _probability(layer: str, name: str, value: Any) -> float:
    if not is_number(value) or not 0 <= value <= 1:
        raise ValueError(f"{layer}: expected {name} from 0 to 1, received {value!r}.")
    return value


def _per(layer: str, value: Any) -> Literal["batch", "sample"]:
    if value not in ("batch", "sample"):
        raise ValueError(f"{layer}: expected per to be 'batch' or 'sample', received {value!r}.")
    return value
