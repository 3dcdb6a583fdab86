import keras
import numpy as np
import pytest
from harness import check_layer, draw, numpy

from convcraft.layers import FancyPCA, draws

# facts.md, section 3.1: as published with fb.resnet.torch
VALUES = np.array([0.2175, 0.0188, 0.0045])
VECTORS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])

check_layer(
    FancyPCA,
    shapes=[(4, 6, 6, 3), (1, 5, 8, 3)],
    random=True,
    augmentation=True,
    reference=lambda x: x,
    bad=[
        ({"std": -1}, "std"),
        ({"std": float("nan")}, "std .*received nan"),
        ({"std": "large"}, "std .*received 'large'"),
        ({"value_range": 255}, "value_range .*received 255"),
        ({"eigenvalues": [1, 2, 3]}, "together"),
        ({"eigenvalues": [1, 2], "eigenvectors": np.eye(3)}, "C x C"),
        ({"eigenvalues": [1, -2], "eigenvectors": np.eye(2)}, "none negative"),
        ({"value_range": (1, 0)}, "value_range"),
        ({"data_format": "nchw"}, "data_format"),
    ],
)


def shifts(layer, n=20_000, seed=1, value=0.0, channels=3):
    return numpy(layer.transform(np.full((n, 1, 1, channels), value, "float32"), seed))[:, 0, 0] - value


@pytest.mark.parametrize("sqrt", [False, True])
def test_shift_is_the_formula(sqrt):
    """scale * P (alpha * l), with the draws that the layer made."""
    seeds = np.arange(50, dtype="int32")
    alphas = numpy(draws.normal(seeds, 3, 0.1)).astype("float64")
    lengths = np.sqrt(VALUES) if sqrt else VALUES
    expected = 255 * (alphas * lengths) @ VECTORS.T
    shifted = numpy(FancyPCA(sqrt=sqrt).transform(np.zeros((50, 1, 1, 3), "float32"), seeds))[:, 0, 0]
    np.testing.assert_allclose(shifted, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "alpha, expected",
    [
        ((0.1, 0, 0), (-0.012343, -0.012632, -0.012693)),
        ((0.1, -0.1, 0.1), (-0.013515, -0.012990, -0.011198)),
    ],
)
def test_published_vectors(alpha, expected, monkeypatch):
    """facts.md's vectors, on images in [0, 1], with the draws put in place."""
    drawn = keras.ops.convert_to_tensor(np.float32([alpha] * 2))
    monkeypatch.setattr("convcraft.layers.fancy_pca.normal", lambda seeds, n, std: drawn)
    layer = FancyPCA(value_range=(0, 1))
    y = numpy(layer.transform(np.zeros((2, 1, 1, 3), "float32"), 0))[:, 0, 0]
    np.testing.assert_allclose(y, [expected] * 2, atol=1e-6)


def test_moments():
    """Mean 0 and the covariance P diag((.1 l)^2) P^T, within four standard errors of 20,000 draws."""
    drawn = shifts(FancyPCA()) / 255
    covariance = VECTORS @ np.diag((0.1 * VALUES) ** 2) @ VECTORS.T
    deviations = np.sqrt(np.diag(covariance))
    assert (np.abs(drawn.mean(0)) < 4 * deviations / np.sqrt(len(drawn))).all()
    np.testing.assert_allclose(np.cov(drawn, rowvar=False), covariance, rtol=4 * np.sqrt(2 / len(drawn)))
    # facts.md: about 3.2 of 255 grey levels
    np.testing.assert_allclose(255 * deviations, [3.17, 3.22, 3.25], atol=0.01)


def test_every_pixel_of_an_image_shifts_alike():
    x = draw((3, 7, 5, 3), low=0, high=255)
    moved = numpy(FancyPCA(seed=1)(x)) - x
    np.testing.assert_allclose(moved, np.broadcast_to(moved[:, :1, :1], moved.shape), atol=1e-4)


def test_never_clips():
    assert shifts(FancyPCA(std=3.0), value=0).min() < -50
    assert shifts(FancyPCA(std=3.0), value=255).max() > 50


def test_adapt_finds_the_data_s_own_components():
    rng = np.random.default_rng(0)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    images = 127 + (rng.normal(size=(20, 16, 16, 3)) * [60, 20, 5]) @ turn.T
    layer = FancyPCA(seed=0)
    layer.adapt(images)
    values = np.linalg.svd(np.cov(images.reshape(-1, 3) / 255, rowvar=False, bias=True))[1]
    np.testing.assert_allclose(layer.eigenvalues, values, rtol=1e-4)
    np.testing.assert_allclose(np.abs(layer.eigenvectors.T @ turn), np.eye(3), atol=0.02)
    again = FancyPCA.from_config(layer.get_config())
    np.testing.assert_array_equal(again.eigenvalues, layer.eigenvalues)


def test_adapt_takes_what_the_preprocessing_layers_take():
    """Batches with labels, grey images; what cannot be used is named."""
    images = draw((6, 5, 4, 3), low=0, high=255)
    whole, parts = FancyPCA(), FancyPCA()
    whole.adapt(images)
    parts.adapt([(images[:4], np.zeros(4)), (images[4:], np.zeros(2))])
    np.testing.assert_allclose(parts.eigenvalues, whole.eigenvalues, rtol=1e-6)
    grey = FancyPCA(eigenvalues=[1.0], eigenvectors=[[1.0]])
    grey.adapt(images[..., :1])
    np.testing.assert_allclose(grey.eigenvalues, [np.var(images[..., 0].astype("float64") / 255)], rtol=1e-6)
    for wrong, message in ((images[..., :2], "3 channels, received 2"), (images[:0], "none"), (images * np.nan, "NaN")):
        with pytest.raises(ValueError, match=f"FancyPCA.adapt.*{message}"):
            whole.adapt(wrong)


def test_channels_first_equals_channels_last():
    x = draw((4, 5, 6, 3), low=0, high=255)
    last = numpy(FancyPCA().transform(x, 3))
    first = numpy(FancyPCA(data_format="channels_first").transform(np.moveaxis(x, -1, 1), 3))
    np.testing.assert_allclose(np.moveaxis(first, 1, -1), last, rtol=1e-6)


def test_other_channels():
    layer = FancyPCA(eigenvalues=[0.1, 0.2, 0.3, 0.4], eigenvectors=np.eye(4))
    assert shifts(layer, 10, channels=4).shape == (10, 4)
    with pytest.raises(ValueError, match=r"3 channels, received shape \(2, 4, 4, 1\)"):
        FancyPCA()(np.zeros((2, 4, 4, 1), "float32"))
    with pytest.raises(ValueError, match="rank"):
        FancyPCA()(np.zeros((4, 4), "float32"))


def test_empty_batch():
    assert FancyPCA()(np.zeros((0, 4, 4, 3), "float32")).shape == (0, 4, 4, 3)
