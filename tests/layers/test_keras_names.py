"""Keras's own `load_model` knows our classes, whichever of the two packages was imported first."""

import keras
import pytest
from harness import python

from convcraft import layers

LOADS = """
{imports}
model = keras.saving.load_model({path!r})
print(type(model).__module__, model.output_shape, sorted(type(layer).__name__ for layer in model.layers))
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "model.keras"
    inputs = keras.Input((8, 8, 3))
    x = layers.RReLU()(keras.layers.Conv2D(2, 3)(layers.FancyPCA()(inputs)))
    layers.Model(inputs, layers.ClassNames(["a", "b"])(keras.layers.GlobalAveragePooling2D()(x))).save(path)
    return str(path)


@pytest.mark.parametrize(
    "imports",
    [
        "import keras, convcraft",
        "import convcraft, sys; assert 'keras' not in sys.modules; import keras",
        "import convcraft.layers.draws; import keras",  # Keras comes in the middle of one of our modules
        "from keras.saving import load_model; import keras; from convcraft import zoo",
    ],
)
def test_files_load_without_naming_our_classes(saved, imports):
    said = python(LOADS.format(imports=imports, path=saved)).splitlines()[-1]
    names = ["ClassNames", "Conv2D", "FancyPCA", "GlobalAveragePooling2D", "InputLayer", "RReLU"]
    assert said == f"convcraft.layers.model (None, 2) {names}"


def test_what_a_user_registers_stays_registered():
    """In the table that Keras had, and in ours."""
    keras.saving.get_custom_objects()["mine"] = test_files_load_without_naming_our_classes
    try:
        assert keras.saving.get_registered_object("mine") is test_files_load_without_naming_our_classes
        assert keras.saving.get_registered_object("convcraft>RReLU") is layers.RReLU
        assert keras.saving.get_registered_object("convcraft>Nothing") is None
    finally:
        del keras.saving.get_custom_objects()["mine"]
