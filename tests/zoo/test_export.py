"""Exported networks compute the same elsewhere: SavedModel, ONNX under onnxruntime, LiteRT (TFLite)."""

import importlib.util
import pathlib

import numpy as np
import pytest
from families import QUICK, SIDES, UNSETTLED, make, settle
from harness import BACKEND, draw, python

from convcraft import zoo

DEEP = 50  # weighing layers beyond which 1e-3 will do
# On TensorFlow Keras compiles grouped convolutions by XLA, in a call that tf2onnx 1.17 leaves as it is and ONNX does
# not have. From PyTorch they are exported.
GROUPED = ("alexnet_2012",)
FEW = ["resnet20_cifar", "squeezenet_cifar", "fractalnet20", "alexnet_2012", "water_unet"]
slowly = [pytest.param(name, marks=pytest.mark.slow) for name in SIDES if name not in QUICK]
tensorflow_only = pytest.mark.skipif(BACKEND != "tensorflow", reason="exports from TensorFlow")


def needs(*modules):
    """Skips where a package is missing; the extra `onnx` has them."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}: pip install convcraft[onnx]")


def prepared(name, randomize):
    """A model with informative weights, images, its outputs, and how close the exported ones must come."""
    side = 64 if name in UNSETTLED else SIDES[name]
    model = randomize(make(name, side))
    if name in UNSETTLED:
        settle(model)
    x = draw((2, side, side, 3), low=0, high=255)
    y = model.predict(x, verbose=0)
    assert y.std() > 1e-3 * np.abs(y).max()
    weighing = sum(any(len(w.shape) > 1 for w in layer.weights) for layer in model.layers)
    return model, x, y, (1e-3 if weighing > DEEP else 1e-4) * np.abs(y).max()


@tensorflow_only
@pytest.mark.parametrize("name", [*QUICK, *slowly])
def test_saved_model(name, randomize, tmp_path):
    import tensorflow as tf

    model, x, y, atol = prepared(name, randomize)
    model.export(tmp_path / "m", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "m"))  # kept: its variables go with it
    found = loaded.serve(tf.constant(x))
    np.testing.assert_allclose(found.numpy(), y, rtol=0, atol=atol)


@tensorflow_only
@pytest.mark.slow
@pytest.mark.parametrize("name", SIDES)
def test_onnx(name, randomize, tmp_path):
    needs("onnx", "tf2onnx", "onnxruntime")
    import onnxruntime

    model, x, y, atol = prepared(name, randomize)
    model.export(tmp_path / "m.onnx", format="onnx", verbose=False)
    if name in GROUPED:
        with pytest.raises(Exception, match="No Op registered for StatefulPartitionedCall"):
            onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
        return
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: x})
    np.testing.assert_allclose(found, y, rtol=0, atol=atol)


@tensorflow_only
@pytest.mark.slow
@pytest.mark.parametrize("name", SIDES)
def test_tflite(name, randomize, tmp_path):
    import tensorflow as tf

    model, x, y, atol = prepared(name, randomize)
    model.export(tmp_path / "m", verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "m"))
    interpreter = tf.lite.Interpreter(model_content=converter.convert())
    (given,), (out,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(given["index"], x.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given["index"], x)
    interpreter.invoke()
    np.testing.assert_allclose(interpreter.get_tensor(out["index"]), y, rtol=0, atol=atol)


@tensorflow_only
@pytest.mark.slow
@pytest.mark.parametrize("name", ["vgg11", "alexnet", "resnet18"])
def test_open_sizes_are_exported(name, randomize, tmp_path):
    """`SlidingDense` among them: dense layers that slide over larger images."""
    needs("onnx", "tf2onnx", "onnxruntime")
    import onnxruntime

    design = zoo.Design(width=0.125, head_layers=(16,)) if name != "resnet18" else zoo.Design(width=0.125)
    model = randomize(zoo.create(name, classes=3, input_shape=(None, None, 3), design=design))
    model.predict(np.zeros((1, 224, 224, 3), "float32"), verbose=0)  # Keras asks for it
    model.export(tmp_path / "m.onnx", format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    for side in (224, 256):
        x = draw((2, side, side, 3), low=0, high=255)
        y = model.predict(x, verbose=0)
        (found,) = session.run(None, {session.get_inputs()[0].name: x})
        np.testing.assert_allclose(found, y, rtol=0, atol=1e-4 * np.abs(y).max())


TORCH = """
import sys, json, importlib.util
import onnxruntime
spec = importlib.util.spec_from_file_location("c", sys.argv[1])
conftest = importlib.util.module_from_spec(spec)
spec.loader.exec_module(conftest)
from convcraft import zoo
import numpy as np
name, side, path = sys.argv[2], int(sys.argv[3]), sys.argv[4]
options = {"classes": 3, "head": "multilabel", "design": zoo.Design(width=0.25)}
model = conftest._randomize(zoo.create(name, input_shape=(side, side, 3), **options))
x = np.random.default_rng(0).uniform(0, 255, (2, side, side, 3)).astype("float32")
y = model.predict(x, verbose=0)
model.export(path, format="onnx", verbose=False)
session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
(found,) = session.run(None, {session.get_inputs()[0].name: x})
assert y.std() > 1e-3 * np.abs(y).max()
print("relative", np.abs(found - y).max() / np.abs(y).max())
"""


@pytest.mark.slow
@pytest.mark.torch
@tensorflow_only
@pytest.mark.parametrize("name", FEW)
def test_onnx_from_pytorch(name, tmp_path):
    needs("onnx", "onnxscript", "onnxruntime")
    conftest = pathlib.Path(__file__).with_name("conftest.py")
    printed = python(TORCH, conftest, name, SIDES[name], tmp_path / "m.onnx", KERAS_BACKEND="torch")
    assert float(printed.split("relative")[1]) <= 1e-4
