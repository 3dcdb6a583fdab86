"""Every family under one changed circumstance at a time: backend, precision, compiler, channels, classes, head.

What tests/zoo/test_models.py and test_registry.py hold every family to (a step of training, saving, open sizes,
`replace_head`) is not repeated here, but for the other backends, which do all of it in a process of their own.
"""

import importlib.util
import inspect
import json
import pathlib

import keras
import numpy as np
import pytest
from families import QUICK, SIDES, UNSETTLED, make, settle
from harness import BACKEND, SEGMENTATION, draw, numpy, python

from convcraft import zoo
from convcraft.zoo import Design

one_a_family = pytest.mark.parametrize(
    "name", [*QUICK, *(pytest.param(n, marks=pytest.mark.slow) for n in SIDES if n not in QUICK)]
)
LOSSES = {
    "softmax": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    "multilabel": keras.losses.BinaryCrossentropy(from_logits=True),
    "regression": keras.losses.MeanSquaredError(),
    "none": keras.losses.MeanSquaredError(),
}
IMPORTS = "import keras, numpy as np\nfrom convcraft import zoo\n"
CHILD = """
import importlib.util, json, sys, tempfile, os
import convcraft
spec = importlib.util.spec_from_file_location("zoo_conftest", sys.argv[1])
conftest = importlib.util.module_from_spec(spec)
spec.loader.exec_module(conftest)
folder, sides = sys.argv[2], json.loads(sys.argv[3])
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
for name, side in sides.items():
    try:
        keras.utils.set_random_seed(0)
        x = np.random.default_rng(0).uniform(0, 255, (2, side, side, 3)).astype("float32")
        model = conftest._randomize(make(name, side))
        y = model.predict(x, verbose=0)
        np.save(f"{folder}/{name}.npy", y)
        model.compile(keras.optimizers.SGD(1e-4), loss, jit_compile=keras.backend.backend() == "jax")
        before = model.trainable_variables[-1].numpy()
        found = float(model.train_on_batch(x, y.argmin(-1)))
        assert np.isfinite(found), found
        assert np.any(model.trainable_variables[-1].numpy() != before), "a step moves the weights"
        model.save(f"{folder}/m.keras")
        y = model.predict(x, verbose=0)
        again = convcraft.load_model(f"{folder}/m.keras")
        np.testing.assert_allclose(again.predict(x, verbose=0), y, rtol=1e-6, atol=1e-6 * np.abs(y).max())
        print(name, "ok", flush=True)
    except Exception as error:
        print(name, "failed:", " ".join(repr(error).split())[:500], flush=True)
    keras.utils.clear_session()
"""


def images(name, channels=3, side=None):
    side = side or SIDES[name]
    return draw((2, side, side, channels), low=0, high=255)


def close(found, expected, tolerance):
    """Relative to the largest output, which is informative."""
    assert expected.std() > 1e-3 * np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def step(model, x, head="softmax", **options):
    """One step of training."""
    outputs = numpy(model(x, training=False))
    # wrong ones: right ones may teach nothing
    y = {"softmax": outputs.argmin(-1), "multilabel": np.zeros_like(outputs)}.get(head, outputs + 1)
    options = {"jit_compile": BACKEND == "jax", "run_eagerly": BACKEND == "tensorflow", **options}
    model.compile(keras.optimizers.SGD(1e-4), LOSSES[head], **options)
    before = [numpy(v) for v in model.trainable_variables]
    for _ in range(12):  # in float16 Keras leaves out steps until its scale of the loss fits
        assert np.isfinite(float(model.train_on_batch(x, y)))
        after = [numpy(v) for v in model.trainable_variables]
        if any((a != b).any() for a, b in zip(after, before, strict=True)):
            break
    else:
        pytest.fail("no step of training moves a variable")
    assert all(np.isfinite(a).all() for a in after)


@pytest.fixture(scope="module", params=["jax", "torch"])
def elsewhere(request, tmp_path_factory):
    """What each family's model did in a process on another backend: outputs, a line for each."""
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"needs {request.param}, which is not installed")
    folder = tmp_path_factory.mktemp(request.param)
    conftest = pathlib.Path(__file__).with_name("conftest.py")
    printed = python(
        IMPORTS + inspect.getsource(make) + CHILD,
        conftest,
        folder,
        json.dumps(SIDES),
        KERAS_BACKEND=request.param,
        timeout=3600,
    ).splitlines()
    return folder, dict(line.split(" ", 1) for line in printed if line.split(" ")[0] in SIDES)


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="started by the TensorFlow run")
@pytest.mark.parametrize("name", SIDES)
def test_other_backends_train_save_and_give_the_same(name, elsewhere, randomize):
    folder, lines = elsewhere
    assert lines[name] == "ok"
    x = np.random.default_rng(0).uniform(0, 255, (2, SIDES[name], SIDES[name], 3)).astype("float32")
    expected = randomize(make(name, SIDES[name])).predict(x, verbose=0)
    close(np.load(folder / f"{name}.npy"), expected, 1e-4)


@one_a_family
@pytest.mark.parametrize("policy, tolerance", [("mixed_float16", 0.03), ("mixed_bfloat16", 0.2)])
def test_mixed_precision(name, policy, tolerance, randomize):
    side = 64 if name in UNSETTLED else SIDES[name]
    reference = randomize(make(name, side))
    if name == "resnet_in_resnet":  # whose sums of random branches are more than float16 holds
        reference.set_weights([w * (0.5 if w.ndim > 1 else 1) for w in reference.get_weights()])
    if name in UNSETTLED:
        settle(reference)
        tolerance *= 4  # of 50 layers
    x = images(name, side=side)
    expected = numpy(reference(x, training=False))
    keras.config.set_dtype_policy(policy)
    try:
        model = make(name, side)
    finally:
        keras.config.set_dtype_policy("float32")
    model.set_weights(reference.get_weights())
    y = model(x, training=False)
    assert keras.backend.standardize_dtype(y.dtype) == "float32", "logits keep their digits"
    assert model.get_layer(index=-2).compute_dtype == policy.removeprefix("mixed_")
    assert {str(v.dtype) for v in model.trainable_variables} == {"float32"}
    close(numpy(y), expected, tolerance)
    step(model, x)


@pytest.mark.slow
@one_a_family
@pytest.mark.skipif(BACKEND == "torch", reason="XLA is TensorFlow's and JAX's")
def test_xla(name, randomize):
    model = randomize(make(name, SIDES[name]))
    expected = numpy(model(images(name), training=False))
    model.compile(jit_compile=True)
    close(model.predict(images(name), verbose=0), expected, 1e-4)
    step(model, images(name), jit_compile=True, run_eagerly=False)


@one_a_family
@pytest.mark.parametrize("channels", [1, 6])
def test_channels(name, channels):
    model = make(name, SIDES[name], channels)
    step(model, images(name, channels))
    free = make(name, SIDES[name], input_shape=(None, None, channels))
    assert free.input_shape == (None, None, None, channels)


@one_a_family
@pytest.mark.parametrize("classes", [2, 21_841])
def test_numbers_of_classes(name, classes, randomize):
    model = randomize(make(name, SIDES[name], classes=classes))
    y = model.predict(images(name), verbose=0)
    maps = (SIDES[name], SIDES[name]) if name in SEGMENTATION else ()
    assert y.shape == (2, *maps, classes) and np.isfinite(y).all() and y.std() > 0
    assert zoo.class_names(model) == [str(number) for number in range(classes)]


@one_a_family
@pytest.mark.parametrize("head", ["softmax", "multilabel", "regression", "none"])
def test_heads(name, head):
    model = make(name, SIDES[name], head=head)
    step(model, images(name), head)
    named = head in ("softmax", "multilabel")
    assert zoo.class_names(model) == (["0", "1", "2"] if named else None)
    assert (model.output_shape[-1] == 3) == (head != "none")
    if named:  # an output can be negative: it is a logit (of softmax alone, some papers have ReLUs on it)
        names = [layer.name for layer in model.layers]
        assert "head_act" not in names or head == "softmax"


@pytest.mark.parametrize("name", SIDES)
@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"input_shape": (32, 32)}, r"expected input_shape to be \(height, width, channels\).*received \(32, 32\)"),
        ({"input_shape": (0, 32, 3)}, "expected input_shape .*None; received"),
        ({"input_shape": (32, 32, None)}, "expected input_shape .*None; received"),
        ({"input_shape": 224}, "expected input_shape .*received 224"),
        ({"classes": 0}, "expected classes to be at least 1, received 0"),
        ({"classes": []}, "expected classes to be a number or a list of names, received an empty list"),
        ({"classes": "ants"}, "expected classes to be a number or a list of names, received 'ants'"),
        ({"head": "sigmoid"}, "expected head to be one of softmax, multilabel, regression, none, received 'sigmoid'"),
        ({"design": {"width": 2}}, "expected design to be None or a zoo.Design"),
    ],
    ids=str,
)
def test_wrong_arguments_say_what_to_do(name, arguments, message):
    with pytest.raises(ValueError, match=f"^{name}: {message}"):
        zoo.create(name, **arguments)


@one_a_family
@pytest.mark.parametrize("weights", ["no_such_weights", "nowhere.weights.h5", 7])
def test_wrong_weights_say_what_to_do(name, weights):
    with pytest.raises((ValueError, FileNotFoundError, TypeError), match=f"{weights}"):
        make(name, SIDES[name], weights=weights)


@one_a_family
def test_knobs_of_others_say_what_they_need(name):
    values = {"skip_length": 2, "freeze": "square", "depth": 3, "stem_stride": 2, "head_layers": (4,), "join": "max"}
    foreign = {knob: value for knob, value in values.items() if knob not in zoo.info(name).knobs}
    for knob, value in foreign.items():
        with pytest.raises(ValueError, match=f"^{name}: the knob {knob}=.* cannot apply: .*Its knobs are: "):
            zoo.create(name, design=Design(**{knob: value}))


@pytest.mark.parametrize("name", ["vgg_cifar", "inception_v3", "alexnet_2012"])
def test_images_that_are_too_small_say_so(name):
    with pytest.raises(ValueError, match=f"^{name}: expected larger images, received input_shape=.*documented size"):
        zoo.create(name, input_shape=(7, 7, 3))
