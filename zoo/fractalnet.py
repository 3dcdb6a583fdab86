"""FractalNet (Larsson et al. 2017, arXiv 1605.07648): very deep nets without residuals.

A fractal block joins columns of 1, 2, 4, … convolutions wherever they meet. In training, drop-path removes inputs of
the joins at random (local), or all columns but one (global), so that every column is a net of its own; see
`extract_column`.
"""

import keras

from convcraft.layers import FractalJoin, FractalPath, Model

from .blocks import conv, downsample, head, preprocess
from .design import Design
from .fractal import fractal_block
from .registry import family

# five blocks; the deepest path has five times 2^(columns - 1) convolutions
VARIANTS: dict[str, dict] = {"fractalnet20": {"columns": 3}, "fractalnet40": {"columns": 4}}


@family(
    VARIANTS,
    size=32,
    source="Larsson, Maire, Shakhnarovich: FractalNet: Ultra-Deep Neural Networks without Residuals, arXiv 1605.07648",
    year=2016,
    sections={"block*": "section 2, figure 1"},
    paper=Design(
        activation="relu",
        normalization="batch",
        norm_position="before",
        transition="max",
        join="mean",
        conv="plain",
        dropout=0.4,
        drop_path=0.15,
        pooling="gap",
        preprocessing="paper",
    ),
    knobs="activation head_activation normalization norm_position transition join conv kernel_size conv_init "
    "dense_init kernel_regularizer kernel_constraint dropout drop_path freeze width head_layers pooling preprocessing",
    published={"fractalnet20": "error 5.22 % with flips and shifts, 4.60 % with drop-path and dropout"},
    deviations="33.7 million parameters, as the paper's description gives; the paper states 38.6, which doubling=True "
    "(a 1x1 convolution doubles the channels before each block) comes near. Dropout rises from 0 in the first block "
    "to the design's rate in the last. Joins are those of the authors' released code: one draw a batch, pooling "
    "before the last join of a block.",
)
def fractalnet(
    x,
    classes,
    design: Design,
    head_kind: str,
    *,
    columns: int,
    filters: tuple[int, ...] = (64, 128, 256, 512, 512),
    global_drop_path: float = 0.5,
    doubling: bool = False,
):
    """Builds the body; see the module."""
    path = FractalPath(columns, global_drop_path, name="path")(x)
    x = preprocess(x, design, mean=(125.3, 123.0, 113.9), std=(63.0, 62.1, 66.7))
    for block, width in enumerate(filters, 1):
        rate = (design.dropout or 0.0) * (block - 1) / max(1, len(filters) - 1)

        def unit(x, name, width=width, rate=rate):
            return conv(x, width, 3, 1, design, name, rate=rate)

        def pool(x, name):
            return downsample(x, design, name)

        if doubling:
            x = conv(x, width, 1, 1, design, f"block{block}_doubling")
        x = fractal_block(
            x,
            columns,
            unit,
            f"block{block}",
            path=path,
            pool=pool,
            drop_path=design.drop_path or 0.0,
            join=design.join or "mean",
            freeze=design.freeze,
        )
    return head(x, classes, design, head_kind, drop=False)  # the blocks have had theirs


FractalNet20, FractalNet40 = fractalnet


def extract_column(model: keras.Model, column: int) -> Model:
    """One column of a fractal net as a plain network, on the same weights: a smaller model that predicts alone.

    Columns are numbered from the deepest, 0. The paper finds the deepest nearly as good as the whole net. A net that
    was trained without global drop-path has columns that rely on each other, and are worth nothing alone.

    Args:
        model: a functional model with `FractalJoin` layers.
        column: its number.

    Returns:
        A `convcraft.Model` that shares its layers with `model`.

    Raises:
        ValueError: where the model has no such column.

    Example:
        >>> from convcraft import zoo
        >>> net = zoo.create("fractalnet20", filters=(4, 4))
        >>> extract_column(net, 0).count_params() < net.count_params()
        True
    """
    columns = _columns(model)
    if not 0 <= column < columns:
        raise ValueError(f"extract_column: expected column from 0 to below {columns}, received {column!r}.")

    def call(layer, *args, **kwargs):
        if isinstance(layer, FractalJoin) and column < len(args[0]):
            return args[0][column]
        return layer(*args, **kwargs)

    plain = keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call)
    return Model(plain.input, plain.output, name=f"{model.name}_column{column}")


def anytime(model: keras.Model) -> Model:
    """The prediction of each column beside the whole net's, from the quickest on: an answer now, better ones later.

    The paper's anytime property (its abstract): a shallow column answers at a fraction of the cost, deeper ones
    improve on it, if the net was trained with global drop-path. Where only one answer is wanted, `extract_column` is
    cheaper: this model computes all of them.

    Args:
        model: a functional model with `FractalJoin` layers.

    Returns:
        A `convcraft.Model` on the same weights whose outputs are a dictionary: `column2`, `column1`, `column0` (the
        deepest), and `all`.

    Raises:
        ValueError: where the model has no columns.

    Example:
        >>> from convcraft import zoo
        >>> list(anytime(zoo.create("fractalnet20", filters=(4, 4))).output)
        ['column2', 'column1', 'column0', 'all']
    """
    columns = _columns(model)
    if not columns:
        raise ValueError(f"anytime: expected a model with FractalJoin layers, received {model.name!r}, without.")
    outputs = {f"column{column}": extract_column(model, column)(model.input) for column in reversed(range(columns))}
    return Model(model.input, {**outputs, "all": model.output}, name=f"{model.name}_anytime")


def _columns(model):
    return max((layer.columns or 0 for layer in model.layers if isinstance(layer, FractalJoin)), default=0)
