"""A random choice of transformations for each image, and named pipelines of them."""

from collections.abc import Sequence
from typing import Any, Self, TypeAlias

import keras
from keras import ops

from . import geometry, pixel_transforms
from . import transforms as known
from .augmentation import Augmentation
from .base import Shape, Tensor, is_number, is_range, register
from .foreign import call_with_seed
from .transforms import COLOURS, FILTERS, GEOMETRY, KERAS, NUMBERS, PIPELINES, VALUES, Draws, Entry

Item: TypeAlias = str | tuple[str, float] | keras.layers.Layer

LAYERS = 1000  # layers' numbers, by their place, begin here


@register
class RandomTransform(Augmentation):
    """Changes each image by a random choice of transformations, each with a random strength of its own.

    Stands for a larger data set: the net never sees the same image twice. It helps where images are few and the
    changes are ones that the class survives. It harms where they are not (mirrored digits and text, colours that
    are the class), and where a net is too small, or trained too shortly, to fit even the plain images. Begin with
    "light", and raise `strength` while validation improves.

    What is chosen is applied in a fixed order: geometry, as a single bilinear resampling; colours, as a single
    linear map; blur and sharpening; quantization, noise, dropped pixels; then layers, in the order given. Nothing
    clips, so values may leave `value_range` (Keras's layers clip). What is not chosen leaves an image exactly as it
    is. In the table, m is drawn from [0, strength), s from [-strength, strength), R is the width of `value_range`:

    | name | what it does |
    |---|---|
    | flip | mirrors left and right, half of the time |
    | rotation | by 20 s degrees |
    | zoom | by a factor 1.2^s |
    | rotation_scaling | both, by draws of its own |
    | shear | rows slide by 0.2 s pixels a row, columns by 0.2 s' |
    | shift | by 0.125 s of the height and 0.125 s' of the width |
    | whitening | mixes in a share m of the image with whitened colours (ZCA), its mean and total variance kept |
    | fancy_pca | `FancyPCA` with a deviation of 0.1 strength |
    | colour_shift | adds 0.1 s R to each channel, s drawn for each |
    | brightness | adds 0.25 s R |
    | contrast | multiplies the distance to the image's mean by 1.6^s |
    | saturation | multiplies the distance to grey by 1 + 0.8 s |
    | grayscale | multiplies it by 1 - m |
    | invert | low + high - x, at any strength |
    | blur | Gaussian, of deviation m pixels |
    | sharpen | adds 1.5 m times the difference to a blurred image (deviation one pixel) |
    | posterize | rounds to multiples of 2^(5 m) R / 255 |
    | solarize | inverts what is above high - 0.5 m R |
    | gaussian_noise | of deviation 0.1 m R, for each value |
    | salt_and_pepper | makes a share 0.1 m of the pixels black or white |
    | pixel_dropout | makes a share 0.2 m of the pixels black |
    | cutout | puts mid-grey on a rectangle of 0.5 m times the sides, centred anywhere |
    | rand_augment | `keras.layers.RandAugment` with factor 0.5 strength: its operations are drawn for the batch |
    | random_erasing | `keras.layers.RandomErasing` in a share 0.25 strength of the images |

    fancy_pca, saturation, grayscale and rand_augment are not drawn for images of other than three channels, nor
    whitening for those of one. Blur and sharpening, chosen together, partly cancel. Strength 0 is the identity.

    | pipeline | for each image |
    |---|---|
    | light | flip, and shift at half strength |
    | standard | flip, and 2 of shift, zoom, rotation (half strength), brightness, contrast, saturation, colour_shift |
    | heavy | flip, and 4 of shift, rotation_scaling, shear, and all from whitening to cutout but invert |
    | modern | flip, rand_augment and random_erasing; see `MixUpCutMix` for what also mixes labels |

    A layer among the transforms is drawn like a name, and called on the whole batch. Ours give each image its own
    draw. Keras's draw for the batch, as a function of the seeds in it: the same batch gives the same result, another
    batch with the same image does not. keras-cv's (TensorFlow only) draw from TensorFlow's generators: give them
    seeds, and expect equal distributions, not equal images, after a resume. `strength` does not reach into layers.

    Args:
        transforms: a pipeline's name; or names, pairs (name, factor of the strength), layers.
        count: how many an image gets, drawn without repetition; None: the pipeline's own, else 2; at most as many
            as there are.
        strength: factor of all magnitudes, at least 0.
        seed: integer or None.
        value_range: the values of black and white.
        data_format: "channels_last", "channels_first", or None for Keras's default.
        always: what every image gets besides, as in `transforms`; None: the pipeline's own, else nothing.
        fill_mode: what geometry fills borders with: "nearest", "constant", "reflect" or "wrap".
        fill_value: for "constant".

    Call: `(images, training=True)`; (n, h, w, c) or (h, w, c), any dtype; the same shape in the compute dtype,
    computed in float32. On TensorFlow not under XLA where geometry or layers are among the transforms.

    Example:
        >>> layer = RandomTransform(["rotation", ("gaussian_noise", 0.5), keras.layers.RandomHue(0.1)], seed=1)
        >>> layer(np.zeros((2, 8, 8, 3), "uint8")).shape == (2, 8, 8, 3)
        True
        >>> RandomTransform("standard").count
        2
    """

    def __init__(
        self,
        transforms: str | Sequence[Item],
        count: int | None = None,
        strength: float = 1.0,
        seed: int | None = None,
        value_range: Sequence[float] = (0, 255),
        data_format: str | None = None,
        always: Sequence[Item] | None = None,
        fill_mode: str = "nearest",
        fill_value: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(seed=seed, data_format=data_format, **kwargs)
        if isinstance(transforms, str):
            if transforms not in PIPELINES:
                raise ValueError(
                    f"RandomTransform: expected transforms to be a pipeline's name ({', '.join(PIPELINES)}) or a list "
                    f"of names and layers, received {transforms!r}."
                )
            pipeline = PIPELINES[transforms]
            transforms = pipeline.transforms
            count = pipeline.count if count is None else count
            always = pipeline.always if always is None else always
        count = 2 if count is None else count
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise ValueError(f"RandomTransform: expected count to be an integer of at least 0, received {count!r}.")
        _check_strength(strength, "strength")
        if not is_range(value_range):
            raise ValueError(f"RandomTransform: expected value_range to be (low, high), received {value_range!r}.")
        geometry.check_fill(fill_mode, fill_value, "RandomTransform")
        self.count = count
        self.strength = float(strength)
        self.value_range = tuple(value_range)
        self.fill_mode = fill_mode
        self.fill_value = fill_value
        self.transforms = _checked(transforms, "transforms")
        self.always = _checked(always or (), "always")
        if not self.transforms and not self.always:
            raise ValueError("RandomTransform: expected transforms to hold at least one, received none.")
        self._entries, self._foreign = self._table()
        # TensorFlow has no XLA kernel for its projective transform, and foreign layers may have none
        compiles = not self._foreign and not set(GEOMETRY) & set(self._entries)
        self.supports_jit = keras.backend.backend() != "tensorflow" or compiles

    def _table(self) -> tuple[dict[str, Entry], dict[str, keras.layers.Layer]]:
        """What to draw from by name, and the layers among it; a layer's name is its number."""
        entries: dict[str, Entry] = {}
        layers: dict[str, keras.layers.Layer] = {}
        pairs = [(*pair, always) for group, always in ((self.transforms, False), (self.always, True)) for pair in group]
        for item, factor, always in pairs:
            number = NUMBERS[item] if isinstance(item, str) else LAYERS + len(layers)
            name = item if isinstance(item, str) else str(number)
            if name in entries:
                raise ValueError(f"RandomTransform: expected each name once, received {name!r} twice.")
            entries[name] = Entry(number, self.strength * factor, always)
            if not isinstance(item, str):
                layers[name] = item
            elif item in KERAS:
                layers[name] = self._keras_layer(item, self.strength * factor)
        return entries, layers

    def _keras_layer(self, name: str, strength: float) -> keras.layers.Layer:
        # channels last, whatever our own: where Keras draws for each value, the layout would change the draw
        options: dict[str, Any] = {"value_range": self.value_range, "data_format": "channels_last"}
        # seeds of their own are never drawn from, but None would draw one from Python's generator
        if name == "rand_augment":
            return keras.layers.RandAugment(factor=min(1.0, 0.5 * strength), seed=0, dtype="float32", **options)
        # Keras draws the probability itself from (0, factor) unless both bounds are given
        share = min(1.0, 0.25 * strength)
        return keras.layers.RandomErasing(factor=(share, share), seed=0, dtype="float32", **options)

    def build(self, input_shape: Shape) -> None:
        """Builds the layers among the transforms that have something to build."""
        for layer in self._foreign.values():
            if not layer.built and type(layer).build is not keras.layers.Layer.build:
                layer.build(input_shape)
        self.built = True

    def draw(self, seeds: Tensor, channels: int) -> Draws:
        """What images with these seeds draw, for whoever wants to know or repeat it."""
        if not any(known.fits(name, channels) for name in self._entries):
            raise ValueError(
                f"RandomTransform: expected images of three channels for {', '.join(self._entries)}, received "
                f"{channels} ({self.data_format})."
            )
        return Draws(self._entries, self.count, seeds, channels)

    def augment(self, images: Tensor, seeds: Tensor) -> Tensor:
        """The pure function: a choice and strengths for each image."""
        if not self.strength or images.shape[0] == 0:
            return images
        first = self.data_format == "channels_first"
        batch = ops.cast(images, "float32")  # whatever the policy: squares of 255 are beyond float16
        batch = ops.transpose(batch, (0, 2, 3, 1)) if first else batch
        draws = self.draw(seeds, batch.shape[-1])
        batch = self._named(batch, draws)
        batch = ops.transpose(batch, (0, 3, 1, 2)) if first else batch
        for name, layer in self._foreign.items():
            if name in draws:
                changed = self._apply(layer, batch, draws.seeds(name))
                batch = known.only(draws.chosen(name), changed, batch)
        return ops.cast(batch, images.dtype)

    def _named(self, images: Tensor, draws: Draws) -> Tensor:
        low, high = map(float, self.value_range)
        if names := [name for name in GEOMETRY if name in draws]:
            matrices = known.matrices(draws, *ops.shape(images)[1:3])
            changed = geometry.resample(images, matrices, self.fill_mode, self.fill_value)
            images = known.only(draws.chosen(*names), changed, images)
        if names := [name for name in COLOURS if name in draws]:
            changed = pixel_transforms.map_colours(images, *known.colour_map(images, draws, low, high))
            images = known.only(draws.chosen(*names), changed, images)
        if names := [name for name in FILTERS if name in draws]:
            images = known.only(draws.chosen(*names), known.filtered(images, draws), images)
        if any(name in draws for name in VALUES):
            images = known.valued(images, draws, low, high)
        return images

    def _apply(self, layer: keras.layers.Layer, images: Tensor, seeds: Tensor) -> Tensor:
        """A layer's output in our format and dtype."""
        own = getattr(layer, "data_format", None) or self.data_format
        turn, back = ((0, 2, 3, 1), (0, 3, 1, 2)) if own == "channels_last" else ((0, 3, 1, 2), (0, 2, 3, 1))
        given = images if own == self.data_format else ops.transpose(images, turn)
        if isinstance(layer, Augmentation):
            changed = layer.augment(ops.cast(given, layer.compute_dtype), seeds)
        else:
            changed = call_with_seed(layer, given, seeds=seeds)
        if len(changed.shape) != 4 or any(
            a != b for a, b in zip(changed.shape, given.shape, strict=True) if None not in (a, b)
        ):
            raise ValueError(
                f"RandomTransform: expected {type(layer).__name__} to keep the images' shape, {tuple(given.shape)}, "
                f"received {tuple(changed.shape)} from it."
            )
        return ops.cast(changed if own == self.data_format else ops.transpose(changed, back), "float32")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, a pipeline's name spelt out: a saved layer stays what it was."""
        return {
            **super().get_config(),
            "transforms": [_written(*pair) for pair in self.transforms],
            "always": [_written(*pair) for pair in self.always],
            "count": self.count,
            "strength": self.strength,
            "value_range": list(self.value_range),
            "fill_mode": self.fill_mode,
            "fill_value": self.fill_value,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Makes the layer, and the layers in it, from what `get_config` returned."""

        def read(item: Any) -> Any:
            return keras.saving.deserialize_keras_object(item) if isinstance(item, dict) else item

        lists = {name: [read(item) for item in config[name]] for name in ("transforms", "always")}
        return cls(**{**config, **lists})


def _written(item: str | keras.layers.Layer, factor: float) -> Any:
    if isinstance(item, str):
        return item if factor == 1.0 else [item, factor]
    return keras.saving.serialize_keras_object(item)


def _checked(items: Sequence[Item], argument: str) -> tuple[tuple[str | keras.layers.Layer, float], ...]:
    """The items as pairs of a name or layer and a factor of the strength."""
    pairs = []
    if isinstance(items, (str, keras.layers.Layer)):
        items = [items]
    if not isinstance(items, (list, tuple)):
        raise ValueError(f"RandomTransform: expected {argument} to be a list of names and layers, received {items!r}.")
    for given in items:
        item, factor = given if isinstance(given, (tuple, list)) and len(given) == 2 else (given, 1.0)
        _check_strength(factor, f"{argument}' factor of {item!r}")
        layer = isinstance(item, keras.layers.Layer) and given is item
        if not layer and not (isinstance(item, str) and item in NUMBERS):
            raise ValueError(
                f"RandomTransform: expected {argument} to hold names, pairs (name, factor) and layers, "
                f"received {given!r}. The names are {', '.join(NUMBERS)}."
            )
        pairs.append((item, float(factor)))
    return tuple(pairs)


def _check_strength(value: Any, argument: str) -> None:
    if not is_number(value) or value < 0:
        raise ValueError(f"RandomTransform: expected {argument} to be a number of at least 0, received {value!r}.")
