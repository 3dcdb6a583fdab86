"""Layers that need the training data get it before the first step of a run, and from the checkpoint afterwards."""

import pathlib

import keras
import numpy as np
import pytest
from harness import BACKEND, draw, numpy, python

from convcraft import layers, zoo
from convcraft.training import Run, adapt, checkpoint, data, rundir
from convcraft.training.common import Common


def images(n=60, **options):
    """Sorted by class, which is how folders come; the classes' colours differ."""
    labels = np.arange(n) // (n // 3)
    x = draw((n, 8, 8, 3), low=0, high=100) * [1.0, 0.5, 0.2] + 50 * labels[:, None, None, None]
    return data.load(
        {"x_train": x.astype("uint8"), "y_train": labels, "x_test": x[:6].astype("uint8"), "y_test": labels[:6]},
        validation=0,
        batch_size=20,
        **options,
    )


def net(found, *first):
    inputs = keras.Input(found.image_shape)
    x = inputs
    for layer in first:
        x = layer(x)
    x = keras.layers.Dense(3, name="head")(keras.layers.Flatten()(x))
    model = layers.Model(inputs, layers.ClassNames(found.class_names)(x), name="net")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1e-3), loss, weighted_metrics=["accuracy"], jit_compile=False)
    return model


def test_a_run_adapts_once_and_resumes_with_what_it_found(tmp_path, capsys):
    def start(epochs, found):
        run = Run(tmp_path, Common(epochs=epochs, data="digits", strategy="none"), "tiny", "convcraft train tiny")
        return run.fit(net(found, layers.Whitening(name="white"), layers.Squeeze(None, name="squeeze")), found)

    found = images(augment=lambda x, seeds: x * 0)  # augmented images are not what the layers are shown
    expected = layers.Whitening()
    expected.adapt(found.sources["train"].batch(np.arange(60))[0])
    model = start(1, found)
    assert "Adapted to 60 training images: white, squeeze.\n" in capsys.readouterr().out
    np.testing.assert_allclose(model.get_layer("white").matrix, expected.matrix, rtol=1e-5)
    for name in ("white", "squeeze"):
        assert any(name in v.path for v in model.non_trainable_variables)

    other = images()
    other.sources["train"].images = other.sources["train"].images // 2  # adapting to these would show
    again = start(2, other)
    said = capsys.readouterr().out
    assert "Resuming" in said and "Adapted" not in said
    np.testing.assert_array_equal(again.get_layer("white").matrix, model.get_layer("white").matrix)
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.get_layer("white").matrix, model.get_layer("white").matrix)
    assert checkpoint.load(tmp_path / rundir.STATE)["progress"]["epoch"] == 2


def test_later_layers_see_what_earlier_ones_make():
    found = images()
    model = net(found, keras.layers.Rescaling(1 / 255), layers.Whitening(), layers.Standardize("pixel", name="last"))
    done = adapt.to_data(model, found)
    assert done.images == 60 and len(done.layers) == 2
    x = found.sources["train"].batch(np.arange(60))[0]
    y = numpy(keras.Model(model.input, model.get_layer("last").output)(x))
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(y.std(0), 1, atol=1e-2)
    assert adapt.to_data(model, found) is None, "nothing is left to do"


def test_a_sample_covers_all_classes(monkeypatch):
    monkeypatch.setattr(adapt, "BATCH", 4)
    found = images()
    chosen = list(adapt.sample(found, 9))
    assert [len(batch) for batch in chosen] == [4, 4, 1]
    x, y = found.sources["train"].batch(np.arange(60))
    rows = [int(np.abs(x - image).sum((1, 2, 3)).argmin()) for batch in chosen for image in batch]
    assert rows == sorted(set(rows)) and set(y[rows]) == {0, 1, 2}


def test_layers_that_need_nothing_are_left_alone():
    found = images()
    fancy = layers.FancyPCA()
    model = net(found, layers.Squeeze(), fancy, layers.Standardize(mean=100, std=50))
    before = fancy.eigenvalues
    assert adapt.to_data(model, found) is None
    np.testing.assert_array_equal(fancy.eigenvalues, before)


def test_the_zoo_s_whitening_trains(tmp_path, capsys):
    found = images()
    design = zoo.Design(preprocessing="whitening", width=0.25)
    run = Run(tmp_path, Common(epochs=1, data="digits", smoke=True, strategy="none"), "tiny", "convcraft train tiny")
    model = zoo.create("squeezenet_cifar", found.class_names, found.image_shape, design=design)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, weighted_metrics=["accuracy"], jit_compile=False)
    run.fit(model, found)
    assert "training images: preprocess." in capsys.readouterr().out
    assert model.get_layer("preprocess").adapted


@pytest.mark.skipif(BACKEND != "tensorflow", reason="tf.data and tf.distribute are TensorFlow's")
class TestTensorFlow:
    def test_the_user_s_own_tf_data(self, monkeypatch):
        import tensorflow as tf

        monkeypatch.setattr(adapt, "SAMPLE", 25)
        x, y = images().sources["train"].batch(np.arange(60))
        found = data.load(tf.data.Dataset.from_tensor_slices((x, y)).batch(10))
        model = net(found, layers.Whitening(name="white"))
        assert adapt.to_data(model, found).images == 25
        expected = layers.Whitening()
        expected.adapt(x[:25])
        np.testing.assert_allclose(model.get_layer("white").matrix, expected.matrix, rtol=1e-4)

    def test_under_a_strategy(self, tmp_path):
        """In a process of its own: a second strategy in one process uses the first one's collective keys again."""
        folder = pathlib.Path(__file__).parent
        code = f"import pathlib, sys; sys.path[:0] = [{str(folder.parent)!r}, {str(folder)!r}]\n"
        code += "import conftest, test_adapt; test_adapt.fit_under_a_strategy(pathlib.Path(sys.argv[1]))\nprint('done')"
        assert python(code, tmp_path).endswith("done\n")


def fit_under_a_strategy(folder):
    import tensorflow as tf

    found = images()
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    config = Common(epochs=1, data="digits", strategy="mirrored")
    run = Run(folder, config, "tiny", "convcraft train tiny", strategy)
    with run.scope():
        model = net(found, layers.Whitening(name="white"))
    run.fit(model, found)
    expected = layers.Whitening()
    expected.adapt(found.sources["train"].batch(np.arange(60))[0])
    np.testing.assert_allclose(model.get_layer("white").matrix, expected.matrix, rtol=1e-5)
