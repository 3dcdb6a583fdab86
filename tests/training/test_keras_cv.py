"""keras-cv's layers inside `RandomTransform`, and in a recipe's run: the extra `keras-cv` (slow, or skipped)."""

import importlib.util
import json
import pathlib

import keras
import numpy as np
import pytest
from harness import BACKEND, draw, numpy, python

from convcraft.layers import RandomTransform

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BACKEND != "tensorflow", reason="keras-cv's augmentation is TensorFlow's"),
    pytest.mark.skipif(not importlib.util.find_spec("keras_cv"), reason="needs keras-cv: pip install .[keras-cv]"),
]

OPTIONS = {
    "RandomColorJitter": {
        "value_range": (0, 255),
        "brightness_factor": 0.3,
        "contrast_factor": 0.3,
        "saturation_factor": 0.3,
        "hue_factor": 0.1,
    },
    "RandAugment": {"value_range": (0, 255)},
    "RandomCutout": {"height_factor": 0.5, "width_factor": 0.5},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_inside(name):
    """Eager and in a pipeline; images that did not choose the layer are as if it were not there."""
    import keras_cv
    import tensorflow as tf

    layer = RandomTransform([getattr(keras_cv.layers, name)(seed=1, **OPTIONS[name]), "shift"], 1)
    x, seeds = draw((20, 8, 8, 3), low=0, high=255), np.arange(20, dtype="int32")
    picked = keras.ops.convert_to_numpy(layer.draw(seeds, 3).chosen("shift"))
    assert 0 < picked.sum() < 20
    shifted = numpy(RandomTransform(["shift"], 1).transform(x, seeds))
    mapped = next(iter(tf.data.Dataset.from_tensors((x, seeds)).map(layer.transform))).numpy()
    for y in (mapped, numpy(layer.transform(x, seeds))):
        assert y.shape == x.shape and np.isfinite(y).all()
        assert np.abs(y - x)[~picked].max() > 1
        np.testing.assert_allclose(y[picked], shifted[picked], atol=1e-3)
    np.testing.assert_array_equal(numpy(layer(x, training=False)), x)
    again = RandomTransform.from_config(json.loads(json.dumps(layer.get_config())))
    assert type(again.transforms[0][0]) is type(layer.transforms[0][0])


def test_in_a_recipe(tmp_path):
    """Trains, reports, and leaves a model that loads where keras-cv is not imported."""
    text = pathlib.Path(__file__).with_name("tiny_recipe.py").read_text()
    jitter = f"keras_cv.layers.RandomColorJitter(**{OPTIONS['RandomColorJitter']}, seed=1)"
    for old, new in (
        ("import keras\n", "import keras\nimport keras_cv\n"),
        ("8, 8, 1", "8, 8, 3"),
        (
            "layers.RandomAffine(rotation=20, shift=0.1).transform",
            f'layers.RandomTransform(["shift", {jitter}, keras_cv.layers.RandAugment((0, 255), seed=2)])',
        ),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    recipe = tmp_path / "tiny_keras_cv.py"
    recipe.write_text(text)
    code = "import sys; from convcraft.training import run; run(sys.argv[1], {'output': sys.argv[2], 'epochs': 2})"
    python(code, recipe, tmp_path / "run")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics and (tmp_path / "run" / "model.keras").exists()
