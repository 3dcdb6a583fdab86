import keras
import numpy as np
import pytest
from harness import numpy
from scipy.stats import kstest, norm, truncnorm, uniform

from convcraft import zoo
from convcraft.layers import initialize

KL = keras.layers


def model():
    keras.utils.set_random_seed(5)
    inside = keras.Input((6, 6, 16))
    nested = keras.Model(inside, KL.Conv2D(32, 3, name="inner", bias_initializer="ones")(inside), name="nested")
    inputs = keras.Input((8, 8, 3))
    x = KL.Conv2D(16, 3, name="conv")(inputs)
    x = nested(KL.PReLU(name="prelu", shared_axes=[1, 2])(x))
    x = KL.SeparableConv2D(16, 3, name="separable")(KL.BatchNormalization(name="bn")(x))
    x = KL.Dense(200, name="one", bias_initializer="ones")(KL.Flatten()(x))
    return keras.Model(inputs, KL.Dense(100, name="two")(x))


def kernel(net, name):
    return net.get_layer(name).get_weights()[0]


def test_xavier_on_dense_layers_gaussian_on_convolutions():
    """Distributions against scipy's: p above 0.001 for each."""
    net = model()
    done = initialize(net, "xavier_dense")
    kinds = {path.split("/")[-2]: kind for path, kind in done.items()}
    assert kinds["conv"] == kinds["inner"] == kinds["separable"] == "RandomNormal"
    assert kinds["one"] == kinds["two"] == "GlorotUniform"
    drawn = net.get_layer("nested").get_layer("inner").get_weights()[0]
    assert kstest(drawn.ravel(), norm(0, 0.01).cdf).pvalue > 1e-3
    limit = np.sqrt(6 / (200 + 100))  # Glorot & Bengio 2010, equation 16
    assert kstest(kernel(net, "two").ravel(), uniform(-limit, 2 * limit).cdf).pvalue > 1e-3


def test_he_is_for_the_number_of_inputs():
    net = model()
    initialize(net, "he")
    for drawn in (kernel(net, "one"), net.get_layer("nested").get_layer("inner").get_weights()[0]):
        fan = np.prod(drawn.shape[:-1])
        std = np.sqrt(2 / fan) / 0.87962566103423978  # Keras's is cut at two deviations, and corrected for it
        assert kstest(drawn.ravel(), truncnorm(-2, 2, 0, std).cdf).pvalue > 1e-3
        assert drawn.std() == pytest.approx(np.sqrt(2 / fan), rel=0.05)


def test_zeros_do_not_learn():
    """The demonstration: the first layer's gradient is zero, and stays so."""
    inputs = keras.Input((4,))
    net = keras.Model(inputs, KL.Dense(2, name="two")(KL.Dense(5, activation="relu", name="one")(inputs)))
    initialize(net, "zeros")
    net.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=keras.backend.backend() == "jax")
    rng = np.random.default_rng(0)
    net.fit(rng.normal(size=(16, 4)), rng.normal(size=(16, 2)), epochs=3, verbose=0)
    assert not kernel(net, "one").any() and not kernel(net, "two").any()


def test_only_that_kind_of_layer():
    net = model()
    before = {v.path: numpy(v) for v in net.variables if "seed" not in v.path}
    done = initialize(net, dense="he_uniform")
    assert {path.split("/")[-2] for path in done} == {"one", "two"} and set(done.values()) == {"HeUniform"}
    for v in net.variables:
        if "seed" in v.path:
            continue
        same = (numpy(v) == before[v.path]).all()
        assert same == (v.path not in done and not v.path.endswith("one/bias")), v.path
    assert not numpy(net.get_layer("one").bias).any(), "biases become zero"


def test_an_initializer_in_place_of_the_policys():
    net = model()
    done = initialize(net, "xavier", conv=keras.initializers.Constant(0.5))
    assert (kernel(net, "conv") == 0.5).all()
    assert done["two/kernel"] == "GlorotUniform"


@pytest.mark.parametrize("given", ["glorot_uniform", keras.initializers.RandomNormal(stddev=0.1, seed=3)])
def test_every_kernel_has_a_seed_of_its_own(given):
    inputs = keras.Input((8,))
    net = keras.Model(inputs, KL.Dense(8, name="two")(KL.Dense(8, name="one")(inputs)))
    initialize(net, dense=given, seed=1)
    one, two = kernel(net, "one").copy(), kernel(net, "two").copy()
    assert (one != two).all()
    initialize(net, dense=given, seed=1)
    np.testing.assert_array_equal(kernel(net, "one"), one)
    initialize(net, dense=given, seed=7)
    assert (kernel(net, "one") != one).all()


def test_layers_that_do_not_train_are_left_alone():
    net = model()
    net.get_layer("one").trainable = False
    before = kernel(net, "one").copy()
    assert "one/kernel" not in initialize(net, "he")
    np.testing.assert_array_equal(kernel(net, "one"), before)


def test_the_zoos_knobs_are_the_same_policy():
    design = zoo.Design(conv_init=keras.initializers.RandomNormal(stddev=0.01), dense_init="glorot_uniform")
    built = zoo.create("resnet20_cifar", classes=10, design=design)
    changed = zoo.create("resnet20_cifar", classes=10)
    initialize(changed, "xavier_dense")
    for mine, theirs in zip(built.layers, changed.layers, strict=True):
        if getattr(mine, "kernel", None) is not None and mine.kernel.shape[-1] > 30:
            assert numpy(mine.kernel).std() == pytest.approx(numpy(theirs.kernel).std(), rel=0.05)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"policy": "kaiming"}, "policy to be one of xavier_dense, gaussian, xavier, he, zeros, received 'kaiming'"),
        ({}, "received none of them"),
        ({"conv": "nope"}, "a Keras initializer or its name, received 'nope'"),
        ({"dense": 0.01}, "received 0.01"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        initialize(model(), **options)


def test_a_model_without_such_layers_is_refused():
    inputs = keras.Input((6,))
    with pytest.raises(ValueError, match="trainable layers of that kind"):
        initialize(keras.Model(inputs, KL.ReLU()(inputs)), "he")
