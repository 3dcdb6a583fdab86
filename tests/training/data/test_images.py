"""Decoding, against Pillow's raw values, PNG arithmetic, and other people's broken files."""

import csv
import io
import os
import pathlib
import struct
import threading
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from convcraft.training.data.images import Unreadable, decode, fit, read, resize, to_channels

SHARED = pathlib.Path(os.environ.get("CONVCRAFT_SHARED", pathlib.Path(__file__).parents[3].parent / "shared"))
CORRUPT = SHARED / "data" / "corrupt_images"

needs_corrupt = pytest.mark.skipif(not CORRUPT.exists(), reason=f"{CORRUPT} is absent (CONVCRAFT_SHARED)")


def index():
    if not CORRUPT.exists():
        return []
    with open(CORRUPT / "INDEX.tsv") as file:
        return [
            (row["file"], row["pillow13_result"])
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        ]


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(width, height):
    """A PNG that claims a size and has no pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@needs_corrupt
def test_every_odd_file_is_decoded_or_named():
    files = index()
    assert len(files) > 200
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, result in files:
            if result.startswith("FAIL"):
                with pytest.raises(Unreadable) as refused:
                    decode(CORRUPT / name)
                assert str(refused.value) and "object at 0x" not in str(refused.value), name
            else:
                width, height = map(int, result.rsplit("(", 1)[1].rstrip(")").split(","))
                pixels = decode(CORRUPT / name)
                assert pixels.dtype == np.uint8, name
                assert pixels.shape[:2] == (height, width) and pixels.shape[2] in (1, 3), name


@needs_corrupt
@pytest.mark.parametrize("name", [name for name, result in index() if "I;16" in result and "tbwn" not in name])
def test_16_bit_grey_is_scaled_not_clipped(name):
    with Image.open(CORRUPT / name) as image:
        raw = np.asarray(image).astype(np.float64)
    assert raw.max() > 255  # else clipping would pass
    pixels = decode(CORRUPT / name)[..., 0]
    np.testing.assert_allclose(pixels, raw / 257, atol=0.5)


@needs_corrupt
def test_16_bit_grey_declared_transparent_becomes_white():
    with Image.open(CORRUPT / "pngsuite" / "tbwn0g16.png") as image:
        raw, clear = np.asarray(image), image.info["transparency"]
    np.testing.assert_array_equal(decode(CORRUPT / "pngsuite" / "tbwn0g16.png")[raw == clear], 255)


@needs_corrupt
def test_palette_and_its_truecolour_twin_agree():
    # one photograph, with 256 colours and with all
    gif = decode(CORRUPT / "pillow" / "hopper.gif").astype(float)
    twin = decode(CORRUPT / "pillow" / "hopper.png").astype(float)
    assert np.abs(gif - twin).mean() < 12
    assert np.abs(gif[..., ::-1] - twin).mean() > 12  # the bound would notice swapped channels


def test_sixteen_bits_in_tiff_and_in_32_bit_mode():
    values = np.array([[0, 256, 257], [1000, 40000, 65535]], np.uint16)
    expected = np.array([[0, 1, 1], [4, 156, 255]])  # divided by 257, by hand
    np.testing.assert_array_equal(decode(encoded(Image.fromarray(values), "TIFF"))[..., 0], expected)
    big_endian = Image.frombytes("I;16B", (3, 2), values.astype(">u2").tobytes())
    np.testing.assert_array_equal(decode(encoded(big_endian, "TIFF"))[..., 0], expected)
    wide = Image.fromarray(values.astype(np.int32))
    np.testing.assert_array_equal(decode(encoded(wide, "TIFF"))[..., 0], expected)
    with pytest.raises(Unreadable, match="16 bits"):
        decode(encoded(Image.fromarray(np.array([[-1, 70000]], np.int32)), "TIFF"))
    with pytest.raises(Unreadable, match="floating-point"):
        decode(encoded(Image.fromarray(np.array([[0.5]], np.float32)), "TIFF"))


def test_alpha_is_composited_on_white():
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 100, 200, 128]]], np.uint8)
    alpha = rgba[..., 3:] / 255
    expected = rgba[..., :3] * alpha + 255 * (1 - alpha)
    np.testing.assert_allclose(decode(encoded(Image.fromarray(rgba))), expected, atol=1)
    grey = np.array([[[10, 255], [10, 0], [100, 128]]], np.uint8)
    pixels, conversions = read(encoded(Image.fromarray(grey)))
    np.testing.assert_allclose(pixels[..., 0], [[10, 255, 100 * 128 / 255 + 127]], atol=1)
    assert conversions == ("transparency composited on white",)


def test_palette_transparency_and_one_bit():
    image = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    image.putpalette([255, 0, 0, 0, 0, 255])
    np.testing.assert_array_equal(decode(encoded(image)), [[[255, 0, 0], [0, 0, 255]]])
    np.testing.assert_array_equal(decode(encoded(image, transparency=1)), [[[255, 0, 0], [255, 255, 255]]])
    bits = Image.fromarray(np.array([[True, False]]))
    np.testing.assert_array_equal(decode(encoded(bits))[..., 0], [[255, 0]])


def test_cmyk_has_the_colours_of_the_subtractive_formula():
    ink = np.zeros((16, 16, 4), np.uint8)
    ink[..., 1:3] = 255  # magenta and yellow make red
    red = decode(encoded(Image.fromarray(ink, "CMYK"), "JPEG", quality=100))
    np.testing.assert_allclose(red.mean((0, 1)), [255, 0, 0], atol=6)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation):
    upright = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
    # what a camera stores, from the definition of the tag: where the stored row 0 and column 0 belong
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: upright.T[::-1],
        7: upright.T[::-1, ::-1],
        8: upright.T[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    for dtype in (np.uint8, np.uint16):
        image = Image.fromarray(np.ascontiguousarray(stored).astype(dtype) * dtype(257 if dtype == np.uint16 else 1))
        pixels, conversions = read(encoded(image, exif=exif))
        np.testing.assert_array_equal(pixels[..., 0], upright)
        assert ("turned as EXIF says" in conversions) == (orientation != 1)


def test_animation_gives_its_first_frame():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    pixels, conversions = read(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    np.testing.assert_array_equal(pixels[0, 0], [255, 0, 0])
    assert "first frame of several taken" in conversions


@pytest.mark.parametrize("factor", [1.5, 3])  # Pillow only warns below twice its limit, and raises above
def test_bombs_are_refused_without_a_warning(monkeypatch, factor):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    with warnings.catch_warnings(record=True) as seen, pytest.raises(Unreadable, match="pixels"):
        warnings.simplefilter("always")
        decode(encoded(Image.new("L", (100, int(100 * factor)))))
    assert not seen


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"hello", "not an image"),
        (png(0, 5), "."),
        (png(5, 5), "."),
        (b"\x89PNG\r\n\x1a\n", "."),
    ],
)
def test_broken_bytes(content, reason):
    with pytest.raises(Unreadable, match=reason):
        decode(content)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(Unreadable, match="no such file"):
        decode(tmp_path / "none.png")
    with pytest.raises(Unreadable, match="directory"):
        decode(tmp_path)


def test_every_truncation_of_a_file_is_decoded_or_named():
    whole = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)), "JPEG")
    outcomes = []
    for length in range(0, len(whole), 7):
        try:
            outcomes.append(decode(whole[:length]).shape)
        except Unreadable:
            outcomes.append(None)
    assert outcomes.count(None) > len(outcomes) * 0.9


def test_forced_channels():
    colour = np.array([[[255, 0, 0], [10, 200, 30]]], np.uint8)
    luma = colour @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
    np.testing.assert_allclose(decode(encoded(Image.fromarray(colour)), channels=1)[..., 0], luma, atol=0.51)
    grey = encoded(Image.fromarray(colour[..., 1]))
    np.testing.assert_array_equal(decode(grey, channels=3), np.stack([colour[..., 1]] * 3, -1))
    floats = to_channels(colour.astype(np.float32), 1)
    assert floats.dtype == np.float32
    np.testing.assert_allclose(floats[..., 0], luma, rtol=1e-6)


def test_resize_is_pillow_s_antialiased_bilinear_in_both_dtypes():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (12, 9, 3), np.uint8)
    expected = np.asarray(Image.fromarray(image).resize((4, 5), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(resize(image, (5, 4)), expected)
    np.testing.assert_allclose(resize(image.astype(np.float32), (5, 4)), expected, atol=1)
    assert resize(image, (12, 9)) is image
    # a two-pixel step enlarged four times, by hand: centres at (i + .5) / 4 - .5 between 0 and 100
    step = np.array([[[0.0], [100.0]]], np.float32)
    np.testing.assert_allclose(resize(step, (1, 8))[0, :, 0], [0, 0, 12.5, 37.5, 62.5, 87.5, 100, 100])


def test_fit_keeps_the_aspect_and_the_centre():
    wide = np.zeros((4, 12, 1), np.uint8)
    wide[:, 4:8] = 200  # the centre square
    np.testing.assert_array_equal(fit(wide, (4, 4)), np.full((4, 4, 1), 200))
    np.testing.assert_array_equal(fit(wide.transpose(1, 0, 2), (4, 4)), np.full((4, 4, 1), 200))
    photo = np.random.default_rng(0).integers(0, 256, (30, 45, 3), np.uint8)
    for side in (20, 60):
        scaled = Image.fromarray(photo).resize((side * 3 // 2, side), Image.Resampling.BILINEAR)
        centre = scaled.crop((side // 4, 0, side // 4 + side, side))
        np.testing.assert_allclose(fit(photo, (side, side)), np.asarray(centre), atol=1)
    assert fit(photo, (7, 19)).shape == (7, 19, 3)


def test_threads_leave_the_user_s_warning_filters_as_they_were():
    content = encoded(Image.new("L", (64, 64)))
    before = list(warnings.filters)
    threads = [threading.Thread(target=lambda: [decode(content) for _ in range(50)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before
