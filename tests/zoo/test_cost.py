import keras
import numpy as np
import pytest
from harness import numpy
from keras import layers

from convcraft import zoo
from convcraft.zoo import Design, cost


def model_of(*stack, shape=(8, 8, 3)):
    inputs = x = keras.Input(shape)
    for layer in stack:
        x = layer(x)
    return keras.Model(inputs, x)


def test_a_bottleneck_costs_a_third():
    # design video: 32x32x256, through 1x1x64 to 3x3x128, is 16.8 M + 75.5 M = 92 M; directly 302 M
    narrow = cost(
        model_of(layers.Conv2D(64, 1, name="a"), layers.Conv2D(128, 3, padding="same", name="b"), shape=(32, 32, 256))
    )
    direct = cost(model_of(layers.Conv2D(128, 3, padding="same"), shape=(32, 32, 256)))
    assert [row.multiply_adds for row in narrow.layers] == [0, 16_777_216, 75_497_472]
    assert (narrow.multiply_adds, direct.multiply_adds) == (92_274_688, 301_989_888)
    assert [row.name for row in narrow.layers[1:]] == ["a", "b"]
    assert narrow.layers[2].output_shape == (32, 32, 128) and narrow.layers[2].kind == "Conv2D"


def test_a_separable_convolution_weighs_an_eighth():
    # design video: 2,304 + 32,768 = 35,072 parameters against 294,912
    two = model_of(
        layers.DepthwiseConv2D(3, use_bias=False), layers.Conv2D(128, 1, use_bias=False), shape=(10, 10, 256)
    )
    assert [row.parameters for row in cost(two).layers] == [0, 2_304, 32_768]
    one = cost(model_of(layers.SeparableConv2D(128, 3, use_bias=False), shape=(10, 10, 256)))
    assert one.parameters == cost(two).parameters == 35_072
    assert one.multiply_adds == cost(two).multiply_adds == 64 * 35_072
    assert cost(model_of(layers.Conv2D(128, 3, use_bias=False), shape=(10, 10, 256))).parameters == 294_912


@pytest.mark.parametrize("name, billions", [("squeezenet1_1", 0.349), ("squeezenet1_0", 0.819)])
def test_published_multiply_adds(name, billions):
    # torchvision lists 0.35 and 0.82 at 224 pixels
    info = zoo.info(name)
    assert info.multiply_adds == pytest.approx(billions * 1e9, rel=0.01)
    assert info.cost.stride == (16, 16)


@pytest.mark.parametrize(
    "name, billions",
    [  # torchvision's tables of weights list them as GFLOPS, at 224 pixels; resnet50 is that of "v1.5"
        ("resnet50", 4.09),
        pytest.param("vgg16", 15.47, marks=pytest.mark.slow),
    ],
)
def test_torchvisions_multiply_adds(name, billions):
    assert zoo.info(name).multiply_adds == pytest.approx(billions * 1e9, rel=0.01)


def test_vgg16_by_hand():
    # table 1 of the paper, configuration D: the sizes of the maps, and the channels in and out of each convolution
    rows = [(224, 3, 64), (224, 64, 64), (112, 64, 128), (112, 128, 128), (56, 128, 256), *[(56, 256, 256)] * 2]
    rows += [(28, 256, 512), *[(28, 512, 512)] * 2, *[(14, 512, 512)] * 3]
    by_hand = sum(size**2 * 9 * before * after for size, before, after in rows)
    dense = 7 * 7 * 512 * 4096 + 4096 * 4096 + 4096 * 1000
    assert by_hand + dense == pytest.approx(15.47e9, rel=1e-3)
    convolutions = zoo.cost(zoo.create("vgg16", head="none"))  # without the dense layers it is small
    assert convolutions.multiply_adds == by_hand


@pytest.mark.parametrize(
    "name, millions, field",
    [  # the papers' own (V3 has a bias more or less: 1.1 %), Inception's as torchvision lists it; fields by hand
        ("mobilenet_v1", 569, 315),
        ("mobilenet_v2", 300, 491),
        ("mobilenet_v3_small", 56, 639),
        pytest.param("mobilenet_v3_large", 219, 595, marks=pytest.mark.slow),
        pytest.param("inception_v3", 5710, 1311, marks=pytest.mark.slow),
    ],
)
def test_mobile_multiply_adds(name, millions, field):
    cost_of = zoo.info(name).cost
    assert cost_of.multiply_adds == pytest.approx(millions * 1e6, rel=0.012)
    assert cost_of.stride == (32, 32) and cost_of.receptive_field == (field, field)


def test_resnet20_costs_41_million():
    # published as 41 M: https://github.com/akamaster/pytorch_resnet_cifar10 and the paper's successors; by hand:
    stages = [32 * 32 * 9 * 16 * (3 + 6 * 16), 16 * 16 * 9 * 32 * (16 + 5 * 32), 8 * 8 * 9 * 64 * (32 + 5 * 64)]
    assert zoo.info("resnet20_cifar").multiply_adds == sum(stages) + 64 * 10


@pytest.mark.parametrize(
    "layer, operations",
    [
        (layers.Conv2D(6, 3), 36 * 6 * 9 * 4),
        (layers.Conv2D(6, (1, 3), strides=2, padding="same"), 16 * 6 * 3 * 4),
        (layers.Conv2D(6, 3, groups=2), 36 * 6 * 9 * 2),
        (layers.Conv2D(6, 3, dilation_rate=2), 16 * 6 * 9 * 4),
        (layers.DepthwiseConv2D(3, depth_multiplier=2), 36 * 8 * 9),
        (layers.SeparableConv2D(5, 3, depth_multiplier=2), 36 * (8 * 9 + 8 * 5)),
        (layers.Conv2DTranspose(5, 3, strides=2, padding="same"), 64 * 4 * 9 * 5),
        (layers.Dense(7), 64 * 4 * 7),
        (layers.MaxPooling2D(2), 0),
        (layers.BatchNormalization(), 0),
    ],
    ids=lambda value: value.name if isinstance(value, layers.Layer) else "",
)
def test_multiply_adds_of_a_layer(layer, operations):
    assert cost(model_of(layer, shape=(8, 8, 4))).multiply_adds == operations


def test_trainable_and_not():
    normalization = layers.BatchNormalization()
    model = model_of(layers.Conv2D(5, 3), normalization)
    assert (cost(model).parameters, cost(model).trainable) == (140 + 20, 140 + 10)
    normalization.trainable = False
    assert (cost(model).parameters, cost(model).trainable) == (160, 140)


@pytest.mark.parametrize("policy, size", [("float32", 4), ("mixed_float16", 2), ("mixed_bfloat16", 2)])
def test_activation_bytes(policy, size):
    model = model_of(
        layers.Conv2D(5, 3, dtype=policy), layers.ReLU(dtype=policy), layers.GlobalAveragePooling2D(dtype=policy)
    )
    assert cost(model).activation_bytes == 4 * 8 * 8 * 3 + size * (2 * 6 * 6 * 5 + 5)


def test_a_shared_layer_weighs_once_and_works_twice():
    shared = layers.Conv2D(3, 3)
    spent = cost(model_of(shared, layers.Conv2D(3, 3), layers.ReLU(), shared, shape=(12, 12, 3)))
    assert spent.parameters == 2 * 84
    assert spent.multiply_adds == 81 * (100 + 64 + 36)
    assert spent.receptive_field == (7, 7)


def test_models_in_a_model_and_sequential_ones():
    inner = keras.Sequential([keras.Input((6, 6, 3)), layers.Conv2D(4, 3, strides=2), layers.Conv2D(2, 2)])
    flat = cost(model_of(layers.Conv2D(3, 3), layers.Conv2D(4, 3, strides=2), layers.Conv2D(2, 2)))
    nested = cost(model_of(layers.Conv2D(3, 3), inner))
    for field in ("parameters", "trainable", "multiply_adds", "activation_bytes", "receptive_field", "stride"):
        assert getattr(nested, field) == getattr(flat, field), field
    assert cost(inner).multiply_adds == 4 * 4 * 27 + 1 * 2 * 16


@pytest.mark.parametrize("shape", [(None, None, 3), (32, None, 3)])
def test_unknown_sizes_are_refused(shape):
    with pytest.raises(ValueError, match=r"cost: expected a model with a fixed input size, received .*None"):
        cost(zoo.create("resnet20_cifar", input_shape=shape))


def influence(model, height):
    """Which rows of the input move which rows of the output: booleans (output rows, input rows), by trying each."""
    width, channels = model.input_shape[2:]
    images = np.full((height + 1, height, width, channels), 200, "float32")
    for row in range(height):
        images[row + 1, row] += 1e12  # the outermost pixels of a deep net weigh next to nothing
    y = numpy(model(images, training=False))
    return (np.abs(y[1:] - y[:1]) > 1e-3 * np.abs(y[:1])).any(axis=(2, 3)).T


def seen(model):
    """Receptive field and stride in rows, from what really moves the inner rows of the output."""
    rows = influence(model, model.input_shape[1])
    first = rows.argmax(axis=1)
    last = rows.shape[1] - 1 - rows[:, ::-1].argmax(axis=1)
    inside = rows.any(axis=1) & (first > 0) & (last < rows.shape[1] - 1)
    assert inside.sum() > 2
    steps = np.diff(first[inside] + last[inside]) / 2
    return (last - first + 1)[inside].max(), steps.mean()


NETS = {
    "convolutions": [layers.Conv2D(2, 5), layers.Conv2D(2, 3, strides=2), layers.Conv2D(2, 3, dilation_rate=2)],
    "pools": [layers.Conv2D(2, 3), layers.MaxPooling2D(3, 2), layers.AveragePooling2D(2), layers.Conv2D(2, 3)],
    "depthwise": [layers.DepthwiseConv2D(3, 2), layers.SeparableConv2D(2, 5), layers.ReLU()],
    "upsampling": [layers.Conv2D(2, 3, strides=2), layers.Conv2D(2, 3), layers.UpSampling2D(2)],
    "transposed": [layers.Conv2D(2, 3, strides=4), layers.Conv2DTranspose(2, 4, strides=2)],
    "tiles": [layers.Conv2D(2, 3), layers.AdaptiveAveragePooling2D(6)],
}


@pytest.mark.parametrize("name", NETS)
def test_receptive_field_is_what_moves_the_output(name, randomize):
    model = randomize(model_of(*NETS[name], shape=(62, 7, 1) if name == "tiles" else (63, 31, 1)), positive=True)
    spent = cost(model)
    field, stride = seen(model)
    assert spent.receptive_field[0] == field
    assert spent.stride[0] == pytest.approx(stride, rel=0.05)


@pytest.mark.parametrize(
    "name, size, last, expected",
    [("squeezenet_cifar", 96, "head_act", 53), ("resnet20_cifar", 128, "stage3_block3_act", 81)],
)
def test_receptive_field_of_a_zoo_model(name, size, last, expected, randomize):
    model = zoo.create(name, input_shape=(size, 24, 3), design=Design(width=0.2))
    features = randomize(keras.Model(model.input, model.get_layer(last).output), positive=True)
    assert cost(model).receptive_field == (expected, expected)
    field, stride = seen(features)
    assert (field, stride) == (expected, 4)


def test_width_and_height_are_told_apart():
    spent = cost(model_of(layers.Conv2D(2, (1, 5), strides=(1, 2)), layers.Conv2D(2, (3, 1))))
    assert (spent.receptive_field, spent.stride) == ((3, 5), (1, 2))


def test_a_model_without_images_has_no_field():
    model = keras.Sequential([keras.Input((5,)), layers.Dense(3)])
    assert cost(model).receptive_field == (1, 1) and cost(model).multiply_adds == 15


def test_operations_that_are_no_layers():
    """A model of one's own may use keras.ops: they cost memory, and no multiply-adds that we count."""
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", use_bias=False)(keras.ops.multiply(inputs, 2.0))
    model = keras.Model(inputs, keras.ops.mean(x, axis=(1, 2)))
    found = zoo.cost(model)
    assert found.multiply_adds == 8 * 8 * 3 * 3 * 3 * 4
    assert found.activation_bytes == 4 * (2 * 8 * 8 * 3 + 8 * 8 * 4 + 4)
    assert [row.name for row in found.layers] == [layer.name for layer in model.layers]
