"""The fractal block, of which FractalNet and its fractals are made (Larsson et al. 2017, section 2)."""

from collections.abc import Callable
from typing import Any

from convcraft.layers import FractalJoin, FreezeDropPath

Tensor = Any  # symbolic: a keras.KerasTensor


def fractal_block(
    x: Tensor,
    columns: int,
    conv: Callable[[Tensor, str], Tensor],
    name: str,
    *,
    path: Tensor | None = None,
    pool: Callable[[Tensor, str], Tensor] | None = None,
    drop_path: float = 0.15,
    join: str = "mean",
    freeze: str | None = None,
) -> Tensor:
    """2^(columns-1) rows of convolutions in `columns` columns, joined wherever several columns meet.

    Column k has a convolution in every 2^k-th row: column 0 is the deepest, the last has a single convolution. Where
    columns end in the same row they are joined, and all of them go on from the join.

    Args:
        x: images.
        columns: number of columns; 2^columns - 1 convolutions in all.
        conv: `conv(x, name)`, one convolution with its normalization and activation.
        name: of the block; its layers are called NAME_row2_column1 and NAME_join2.
        path: the output of the net's `FractalPath`, or None.
        pool: `pool(x, name)`, applied to every column before the last join, as the authors do.
        drop_path: of the joins.
        join: "mean" (the paper's), "sum" or "max".
        freeze: None; or the interval of `FreezeDropPath`, which then joins in place of `FractalJoin`, by sums.
    """
    tails = [x] * columns
    rows = 2 ** (columns - 1)
    for row in range(1, rows + 1):
        ending = [column for column in range(columns) if row % 2**column == 0]
        for column in ending:
            tails[column] = conv(tails[column], f"{name}_row{row}_column{column}")
            if pool is not None and row == rows:
                tails[column] = pool(tails[column], f"{name}_pool_column{column}")
        met = [tails[column] for column in ending]
        if len(met) > 1:
            met = [_joined(met, path, drop_path, join, freeze, f"{name}_join{row}")] * len(met)
        for column, tail in zip(ending, met, strict=True):
            tails[column] = tail
    return tails[0]


def _joined(met, path, drop_path, join, freeze, name):
    if freeze is not None:
        return FreezeDropPath(freeze, name=name)(met[::-1])  # shallowest first
    # a choice of columns is the path's, never one join's alone
    return FractalJoin(drop_path, join=join, global_drop_path=0.0, name=name)(met, path)
