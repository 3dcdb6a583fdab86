"""Decodes image files of every kind that people keep in folders to 8-bit grey or RGB arrays.

Nothing here crashes on a broken file and nothing warns: a file is either decoded or named, with the reason.
What is converted on the way, and how:

- EXIF orientation is applied;
- palette, CMYK, YCbCr and HSV images become RGB, 1-bit images grey (0 and 255);
- transparency is composited on white;
- 16-bit grey is divided by 257 and rounded (Pillow's own conversion clips at 255);
- of an animation or a document of several pages the first frame is taken;
- with `channels=1`, RGB becomes ITU-R 601 luma; with `channels=3`, grey is repeated.

Colour profiles are ignored. Floating-point images have no stated range and are refused.
"""

import io
import os
import threading
import warnings
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

Box = tuple[float, float, float, float]  # left, top, right, bottom

GREY = {"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N"}


class Unreadable(ValueError):
    """The reason why a file cannot be decoded, fit to stand after the file's name."""


class Decoded(NamedTuple):
    """Pixels, uint8 (height, width, 1 or 3), and what was converted to get them."""

    pixels: np.ndarray
    conversions: tuple[str, ...]


def decode(source: str | os.PathLike | bytes, channels: int | None = None) -> np.ndarray:
    """Decodes one image.

    Args:
        source: path of an image file, or its content.
        channels: 1 or 3 to force grey or RGB; None keeps grey images grey.

    Returns:
        uint8 array (height, width, 1 or 3), 0-255.

    Raises:
        Unreadable: with the reason, whatever is wrong with the file.

    Example:
        >>> decode(b"")
        Traceback (most recent call last):
        convcraft.training.data.images.Unreadable: the file is empty
    """
    return read(source, channels).pixels


def read(source: str | os.PathLike | bytes, channels: int | None = None) -> Decoded:
    """Like `decode`, and says what was converted."""
    if channels not in (None, 1, 3):
        raise ValueError(f"Expected channels=None, 1 or 3, received channels={channels!r}.")
    try:
        with _QUIET:
            return _read(source if isinstance(source, bytes) else _content(source), channels)
    except Unreadable:
        raise
    # Pillow's decoders raise whatever they stumble on: SyntaxError, struct.error, IndexError, MemoryError, …
    except Exception as error:
        raise Unreadable(_reason(error)) from error


def fit(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes one image to (height, width), keeping its aspect: scaled to cover, then cropped to the centre.

    Args:
        pixels: uint8 (h, w, 1 or 3).
        size: (height, width). The shorter side (relative to it) fits, what the longer one exceeds it by is
            cut.

    Returns:
        uint8 (height, width, same channels), bilinear, antialiased when shrinking.
    """
    height, width = pixels.shape[:2]
    scale = min(height / size[0], width / size[1])
    crop_height, crop_width = size[0] * scale, size[1] * scale
    left, top = (width - crop_width) / 2, (height - crop_height) / 2
    return resize(pixels, size, box=(left, top, left + crop_width, top + crop_height))


def resize(pixels: np.ndarray, size: tuple[int, int], box: Box | None = None) -> np.ndarray:
    """Resizes one image to (height, width) whatever its aspect, bilinear, antialiased when shrinking.

    Args:
        pixels: (h, w, c), uint8 or float32.
        size: (height, width).
        box: (left, top, right, bottom) in pixels, may be fractional; None is the whole image.

    Returns:
        (height, width, c) of the same dtype; uint8 is rounded.
    """
    if pixels.shape[:2] == size and box in (None, (0, 0, size[1], size[0])):
        return pixels
    target = (size[1], size[0])
    if pixels.dtype == np.uint8 and pixels.shape[2] == 3:
        return np.asarray(Image.fromarray(pixels).resize(target, Image.Resampling.BILINEAR, box=box))
    planes = [Image.fromarray(np.ascontiguousarray(pixels[..., c])) for c in range(pixels.shape[2])]
    return np.stack([np.asarray(p.resize(target, Image.Resampling.BILINEAR, box=box)) for p in planes], -1)


def to_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """Converts (…, 1 or 3) arrays to 1 (ITU-R 601 luma) or 3 (repeated) channels, same dtype."""
    if pixels.shape[-1] == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=-1)
    luma = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
    return (np.rint(luma) if pixels.dtype == np.uint8 else luma).astype(pixels.dtype)[..., None]


def _content(path: str | os.PathLike) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _read(content: bytes, channels: int | None) -> Decoded:
    if not content:
        raise Unreadable("the file is empty")
    done = []
    with Image.open(io.BytesIO(content)) as file:
        width, height = file.size
        if min(width, height) < 1:
            raise Unreadable(f"{width}x{height} pixels")
        limit = Image.MAX_IMAGE_PIXELS  # Pillow only warns up to twice its limit
        if limit is not None and width * height > limit:
            raise Unreadable(f"{width}x{height} pixels, over Pillow's limit of {limit} (a decompression bomb?)")
        if _frames(file):
            done.append("first frame of several taken")
        file.load()
        image = _upright(file, done)
        grey = image.mode in GREY
        if image.mode.startswith("I"):
            image = _eight_bits(image, done)
        elif image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
            image = _on_white(image, "L" if grey else "RGB", done)
        target = "L" if (grey if channels is None else channels == 1) else "RGB"
        if image.mode == "F":
            raise Unreadable("floating-point pixels, of no stated range: save it with 8 or 16 bits")
        if image.mode != target:
            done.append(f"{image.mode} to {target}")
            if image.mode not in ("L", "RGB"):
                image = image.convert("L" if grey else "RGB")
        pixels = np.asarray(image)
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    return Decoded(to_channels(pixels, 1 if target == "L" else 3), tuple(done))


def _frames(image: Image.Image) -> bool:
    try:
        return getattr(image, "is_animated", False)
    except Exception:  # looking for a second frame parses on; the first may be whole all the same
        return False


def _upright(image: Image.Image, done: list[str]) -> Image.Image:
    try:
        orientation = image.getexif().get(0x0112, 1)
        if orientation not in range(2, 9):
            return image
        turned = ImageOps.exif_transpose(image)
    except Exception:
        done.append("malformed EXIF data ignored")
        return image
    done.append("turned as EXIF says")
    return turned


def _eight_bits(image: Image.Image, done: list[str]) -> Image.Image:
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise Unreadable(f"values from {values.min()} to {values.max()}: expected at most 16 bits")
    done.append("16-bit grey divided by 257")
    clear = image.info.get("transparency")
    if isinstance(clear, int):  # the one grey value that a PNG may declare transparent
        values = np.where(values == clear, 65535, values)
        done.append("transparency composited on white")
    return Image.fromarray(np.rint(values / 257).astype(np.uint8))


def _on_white(image: Image.Image, mode: str, done: list[str]) -> Image.Image:
    with_alpha = image.convert("LA" if mode == "L" else "RGBA")
    alpha = with_alpha.getchannel("A")
    if alpha.getextrema() == (255, 255):
        done.append("opaque alpha channel dropped")
    else:
        done.append("transparency composited on white")
    canvas = Image.new(mode, image.size, "white")
    canvas.paste(with_alpha.convert(mode), mask=alpha)
    return canvas


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image, or none that Pillow knows"
    return f"{error or type(error).__name__}".rstrip(".")


class _Quiet:
    """Silences Pillow's warnings while any thread decodes.

    warnings.catch_warnings restores a global list: nested in several threads it would leave the wrong one
    behind.
    """

    def __init__(self):
        self.lock = threading.Lock()
        self.inside = 0

    def __enter__(self):
        with self.lock:
            if self.inside == 0:
                self.saved = warnings.catch_warnings()
                self.saved.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\.")
            self.inside += 1

    def __exit__(self, *error):
        with self.lock:
            self.inside -= 1
            if self.inside == 0:
                self.saved.__exit__(*error)


_QUIET = _Quiet()
