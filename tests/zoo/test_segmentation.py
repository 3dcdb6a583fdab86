"""FCN and the encoder-decoder for water against plain NumPy in double precision, and what maps of classes need."""

import keras
import numpy as np
import pytest
from harness import BACKEND, SEGMENTATION, draw, numpy
from numpy_net import Net, convolve, deconvolve, interpolate, pool, relu

import convcraft
from convcraft import zoo
from convcraft.zoo import Design

slow = pytest.mark.slow
TINY = Design(width=0.05, head_layers=(12, 10))
FCNS = ("fcn32s", "fcn16s", "fcn8s")
QUICK = ("fcn8s", "water_unet")
each = pytest.mark.parametrize("name", [*QUICK, *(pytest.param(n, marks=slow) for n in SEGMENTATION if n not in QUICK)])


def small(name, size=(40, 50), **options):
    """A narrow model and images for it."""
    bands = 6 if name == "water_unet" else 3
    design = Design(width=0.25) if name == "water_unet" else TINY
    options = {"classes": 4, "input_shape": (*size, bands), "design": design, **options}
    return zoo.create(name, **options), draw((2, *size, bands), low=0, high=255)


# FCN, from the authors' Caffe files as facts.md 10.2 tells of them -------------------------------------------------


def linear(x, net, name):
    kernel, bias = net.weights[name]
    return x @ kernel.reshape(-1, kernel.shape[-1]) + bias


def cut(x, like, start=0):
    return x[:, start : start + like.shape[1], start : start + like.shape[2]]


def fcn(images, net, stride, pad, at_once):
    x = images - [123.68, 116.779, 103.939]
    pools = []
    for stage, count in enumerate((2, 2, 3, 3, 3), 1):
        for number in range(1, count + 1):
            first = stage == number == 1
            x = net.conv(x, "stem" if first else f"stage{stage}_conv{number}", pad=100 if first and pad else 1)
        x = pool(x, 2, ceil=True)
        pools.append(x)
    x = net.conv(x, "head_dense1", pad=0 if pad else 3)
    x = linear(relu(linear(x, net, "head_dense2")), net, "score")
    # without the paper's padding all maps lie over each other; with it they are moved by these numbers of pixels
    for step, number, offset, scale in ((16, 4, 5, 1e-2), (8, 3, 9, 1e-4)):
        if stride > step:
            break
        skip = linear(pools[number - 1] * (scale if at_once else 1), net, f"score_pool{number}")
        x = deconvolve(x, 2) if pad else cut(interpolate(x, 2), skip)
        x = x + (cut(skip, x, offset) if pad else skip)
    if pad:
        return cut(deconvolve(x, stride), images, {32: 19, 16: 27, 8: 31}[stride])
    return cut(interpolate(x, stride), images)


@pytest.mark.parametrize("pad", [0, 100])
@pytest.mark.parametrize(
    "name, at_once, size",
    [("fcn32s", False, (40, 50)), ("fcn16s", True, (33, 64)), ("fcn8s", False, (51, 40)), ("fcn8s", True, (20, 9))],
)
def test_fcn_is_the_formula(name, at_once, size, pad, randomize):
    model, x = small(name, size, pad=pad, **({"at_once": True} if at_once else {}))
    randomize(model)
    expected = fcn(x.astype("float64"), Net(model), int(name[3:-1]), pad, at_once)
    assert expected.shape == (2, *size, 4) and expected.std() > 1e-3 * np.abs(expected).max()
    scale = np.abs(expected).max()
    np.testing.assert_allclose(numpy(model(x, training=False)), expected, rtol=1e-4, atol=1e-4 * scale)


def test_vggs_weights_fit_by_name_and_reshape(randomize):
    """In the middle of a 7x7 map the 7x7 kernels see what VGG's first dense layer sees."""
    design = Design(width=0.05, head_layers=(12, 10))
    vgg = randomize(zoo.create("vgg16", design=design))
    body = zoo.create("fcn32s", head="none", input_shape=(224, 224, 3), design=design)
    assert body.output_shape == (None, 7, 7, 10)
    for layer in body.layers:
        if layer.weights:
            stored = vgg.get_layer(layer.name).get_weights()
            layer.set_weights([w.reshape(v.shape) for w, v in zip(stored, layer.weights, strict=True)])
    x = draw((1, 224, 224, 3), low=0, high=255)
    features = keras.Model(vgg.input, vgg.get_layer("head_dense2_act").output)
    expected = numpy(features(x, training=False))
    assert expected.std() > 1e-2
    np.testing.assert_allclose(numpy(body(x, training=False))[:, 3, 3], expected, rtol=1e-4, atol=1e-4 * expected.max())
    kept = [layer.name for layer in vgg.layers if layer.weights and layer.name != "head"]
    for name in FCNS:
        assert [la.name for la in small(name)[0].layers if la.weights and "score" not in la.name] == kept


def test_scores_start_at_zero_and_skips_weigh_little():
    """As in the paper, so that a trained FCN-32s is not disturbed when skips are added."""
    for name in FCNS:
        model, x = small(name)
        assert not numpy(model(x)).any()
    model = small("fcn8s", at_once=True)[0]
    assert [model.get_layer(f"pool{n}_scale").scale for n in (4, 3)] == [0.01, 0.0001]


def test_fcn_costs_what_its_layers_do():
    """VGG-16's convolutions, and its dense layers on each of the 7x7 places."""
    sizes = [(224, [3, 64, 64]), (112, [64, 128, 128]), (56, [128] + [256] * 3), (28, [256] + [512] * 3)]
    sizes.append((14, [512] * 4))
    body = sum(side**2 * 9 * i * o for side, widths in sizes for i, o in zip(widths, widths[1:], strict=False))
    dense = 49 * (49 * 512 * 4096 + 4096**2 + 4096 * 21)
    cost = zoo.info("fcn8s").cost
    assert cost.multiply_adds == body + dense + 14**2 * 512 * 21 + 28**2 * 256 * 21
    assert cost.stride == (1, 1) and cost.parameters == cost.trainable == 134_362_751  # facts.md 10.2
    rows = {row.name: row for row in cost.layers}
    assert rows["score_up"].output_shape == (224, 224, 21) and rows["score_up"].parameters == 0


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("fcn8s", {"pad": 50}, "fcn8s: expected pad to be 0 or, as in the paper, 100, received 50"),
        ("fcn16s", {"pad": True}, "fcn16s: expected pad"),
        ("fcn16s", {"at_once": 1}, "fcn16s: expected at_once to be True or False, received 1"),
        ("fcn32s", {"at_once": True}, "fcn32s: expected at_once=False: it has no skips"),
        ("fcn32s", {"pad": 100, "design": Design(head_layers=())}, "fcn32s: expected head_layers for pad=100"),
        ("fcn32s", {"design": Design(stem_stride=2)}, "fcn32s: the knob stem_stride=2 cannot apply"),
        ("water_unet", {"design": Design(transition="max")}, "water_unet: the knob transition='max' cannot apply"),
    ],
)
def test_what_cannot_be_is_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        zoo.create(name, **options)


# The encoder-decoder, from facts.md 10.2 -----------------------------------------------------------------------------


def block(x, net, name, bend=True):
    """Convolution, normalization, ReLU; where it halves a size, TensorFlow's "same" for even sizes."""
    (kernel,) = net.weights[name]
    if kernel.shape[0] == 5:
        pads = [(1, 2 + size % 2) for size in x.shape[1:3]]
        x = convolve(np.pad(x, [(0, 0), *pads, (0, 0)]), kernel, stride=2)
    else:
        x = convolve(x, kernel, pad=kernel.shape[0] // 2)
    gamma, beta, mean, variance = net.weights[f"{name}_norm"]
    x = (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta
    return relu(x) if bend else x


def unit(x, net, name):
    x = block(x, net, f"{name}_conv1")
    return x + block(x, net, f"{name}_conv2")


def depth_to_space(x):
    """tf.nn.depth_to_space: a pixel's channels, a quarter each, are its square row by row."""
    quarters = np.split(x, 4, -1)
    y = np.zeros((len(x), 2 * x.shape[1], 2 * x.shape[2], x.shape[3] // 4))
    for number, quarter in enumerate(quarters):
        y[:, number // 2 :: 2, number % 2 :: 2] = quarter
    return y


def water_unet(x, net):
    x = block(x / 255, net, "stem", bend=False)
    skips = [x]
    for step in (1, 2, 3, 4):
        x = unit(x, net, f"down{step}")
        skips.append(x)
    x = unit(x, net, "middle")
    for step in (4, 3, 2, 1):
        x = depth_to_space(x + skips.pop())
        x = unit(cut(x, skips[-1]), net, f"up{step}")
    return block(x + skips.pop(), net, "head", bend=False)


@pytest.mark.parametrize("size", [(32, 48), (45, 70), (17, 1)])
def test_the_encoder_decoder_is_the_formula(size, randomize):
    model, x = small("water_unet", size)
    expected = water_unet(x.astype("float64"), Net(randomize(model)))
    assert expected.shape == (2, *size, 4) and expected.std() > 1e-3
    scale = np.abs(expected).max()
    np.testing.assert_allclose(numpy(model(x, training=False)), expected, rtol=1e-4, atol=1e-4 * scale)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="the original is written for TensorFlow")
def test_layers_as_keras_pads_them(randomize):
    """The first unit, built of Keras's own layers with "same" padding, on even sizes."""
    model, x = small("water_unet", (16, 24))
    randomize(model)
    x = x / 255
    names = ["stem", "down1_conv1", "down1_conv2"]
    for name in names:
        layer, norm = model.get_layer(name), model.get_layer(f"{name}_norm")
        stride = 2 if name == "down1_conv1" else 1
        plain = keras.layers.Conv2D(layer.filters, layer.kernel_size, stride, padding="same", use_bias=False)
        usual = keras.layers.BatchNormalization()
        x = plain.build(x.shape) or plain.set_weights(layer.get_weights()) or plain(x)
        x = usual.build(x.shape) or usual.set_weights(norm.get_weights()) or usual(x)
        x = x if name == "stem" else keras.ops.relu(x)
    ours = keras.Model(model.input, model.get_layer("down1_conv2_act").output)
    np.testing.assert_allclose(numpy(ours(small("water_unet", (16, 24))[1])), numpy(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bands", [1, 3, 13])
def test_any_number_of_bands(bands):
    model = zoo.create("water_unet", input_shape=(None, None, bands), design=Design(width=0.25))
    assert model.predict(draw((1, 20, 31, bands), low=0, high=255), verbose=0).shape == (1, 20, 31, 1)
    assert zoo.class_names(model) == ["0"]


def test_channels_follow_the_first_layers():
    def widths(**knobs):
        model = zoo.create("water_unet", design=Design(**knobs), input_shape=(16, 16, 6))
        return [model.get_layer(f"{name}_conv2").filters for name in ("down1", "down4", "middle", "up4", "up1")]

    assert widths() == [16, 1024, 1024, 256, 4]
    assert widths(width=0.5) == widths(stem_width=2) == [8, 512, 512, 128, 2]
    assert widths(width=0.3) == [4, 256, 256, 64, 1]  # rounded once, or pixels could not be made of channels


# Both ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SEGMENTATION)
def test_maps_have_the_images_size_whatever_it_is(name, randomize):
    fixed, x = small(name, (45, 70))
    randomize(fixed)
    bands = x.shape[-1]
    free, _ = small(name, input_shape=(None, None, bands))
    assert free.output_shape == (None, None, None, 4)
    free.set_weights(fixed.get_weights())
    y = numpy(fixed(x, training=False))
    np.testing.assert_allclose(free.predict(x, verbose=0), y, rtol=1e-4, atol=1e-4 * np.abs(y).max())
    for size in ((1, 1), (32, 15), (64, 33)):
        assert numpy(free(draw((1, *size, bands)), training=False)).shape == (1, *size, 4)


@each
def test_integers_are_images_too(name, randomize):
    model, x = small(name)
    randomize(model)
    raw = x.astype("uint8")
    y = numpy(model(raw.astype("float32"), training=False))
    np.testing.assert_array_equal(numpy(model(raw, training=False)), y)


@each
def test_a_class_for_every_pixel_is_learned(name):
    """Where the image is bright: the first steps move every variable, and the loss falls."""
    keras.utils.set_random_seed(0)
    classes = 1 if name == "water_unet" else 2
    # wide enough for every layer to have units that are alive
    design = Design(width=0.25) if name == "water_unet" else Design(width=0.2, head_layers=(64, 64), dropout=0.0)
    model, x = small(name, (24, 32), classes=classes, design=design)
    y = (x.mean(-1, keepdims=True) > 127).astype("float32")
    binary = keras.losses.BinaryCrossentropy(from_logits=True)
    loss = binary if classes == 1 else keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-4), loss, jit_compile=BACKEND == "jax")
    before = [numpy(v) for v in model.trainable_variables]
    losses = [float(model.train_on_batch(x, y)) for _ in range(3)]
    still = [v.path for v, old in zip(model.trainable_variables, before, strict=True) if np.array_equal(numpy(v), old)]
    assert not still
    assert losses[-1] < losses[0]


@each
def test_saved_models_come_back(name, randomize, tmp_path):
    options = {"pad": 100} if name == "fcn8s" else {}
    model, x = small(name, (30, 41), classes=["land", "water"], **options)
    expected = numpy(randomize(model)(x, training=False))
    model.save(tmp_path / "m.keras")
    again = convcraft.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(numpy(again(x, training=False)), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    assert type(again) is convcraft.Model and zoo.class_names(again) == ["land", "water"]


@each
def test_heads(name, randomize):
    outputs = {head: small(name, head=head)[0] for head in ("softmax", "multilabel", "regression", "none")}
    x = small(name)[1]
    y = {head: numpy(randomize(model)(x, training=False)) for head, model in outputs.items()}
    np.testing.assert_array_equal(y["softmax"], y["multilabel"])
    np.testing.assert_array_equal(y["softmax"], y["regression"])
    assert zoo.class_names(outputs["softmax"]) == list("0123") and zoo.class_names(outputs["regression"]) is None
    # the last map: of a convolution in place of VGG's dense layers, every 32nd pixel; of the decoder
    assert y["none"].shape == ((2, 40, 50, 1) if name == "water_unet" else (2, 2, 2, 10))


@each
def test_replacing_the_scores(name, randomize):
    """All score layers are new, the rest is shared; with the old scores' weights the maps are the old ones."""
    model, x = small(name)
    randomize(model)
    fine = zoo.replace_head(model, ["land", "water"])
    assert fine.output_shape == (None, 40, 50, 2) and zoo.class_names(fine) == ["land", "water"]
    for layer in fine.layers:
        old = model.get_layer(layer.name)
        new = layer.name.startswith(("score", "head")) and "dense" not in layer.name and "pad" not in layer.name
        assert (layer is not old) == (new or layer.name == "class_names"), layer.name
        if new and layer.weights:
            layer.set_weights([w[..., :2] for w in old.get_weights()])
    expected = numpy(model(x, training=False))[..., :2]
    np.testing.assert_allclose(numpy(fine(x, training=False)), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
