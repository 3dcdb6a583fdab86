import keras
import numpy as np
import pytest
from harness import draw, numpy
from keras import layers

from convcraft import zoo
from convcraft.zoo import Design, blocks, residual_blocks, residual_norms, without_block

NARROW = Design(width=0.25)
SMALL = {"input_shape": (32, 32, 3), "design": NARROW}
# name: blocks with a shortcut, and how many of these project (the papers' tables; MobileNets' repeated rows)
COUNTS = {
    "resnet20_cifar": (9, 0),
    "resnet20_cifar_v2": (9, 0),
    "wide_resnet16_4": (6, 3),
    "resnet18": (8, 3),
    "resnet50_v1": (16, 4),
    "resnet50_v2": (16, 4),
    "mobilenet_v2": (10, 0),
    "mobilenet_v3_large": (10, 0),
}


@pytest.mark.parametrize("name", COUNTS)
def test_the_blocks_of_each_family(name):
    found = residual_blocks(zoo.create(name, input_shape=(32, 32, 3)))
    assert (len(found), sum(block.projection for block in found)) == COUNTS[name]
    assert len({block.name for block in found}) == len(found)


@pytest.mark.parametrize("name", ["squeezenet1_1", "vgg11", "googlenet", "fractalnet20", "competitive_cifar"])
def test_networks_without_residuals(name):
    assert residual_blocks(zoo.create(name, input_shape=(64, 64, 3), design=Design(width=0.1))) == []


def small(kept, project=True):
    """A residual net by hand, with the blocks in `kept` only; the second one changes the shape."""
    x = images = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", name="stem")(x)
    for number, filters in enumerate((4, 6, 6), 1):
        name = f"block{number}"
        y = layers.Conv2D(filters, 3, padding="same", name=f"{name}_a")(x)
        y = layers.Conv2D(filters, 3, padding="same", name=f"{name}_b")(layers.ReLU(name=f"{name}_r")(y))
        if filters != x.shape[-1]:
            x = layers.Conv2D(filters, 1, name=f"{name}_p")(x)
        x = layers.Add(name=f"{name}_join")([y, x] if number == 3 else [x, y]) if number in kept else x
        x = layers.ReLU(name=f"{name}_act")(x)
    return keras.Model(images, layers.Dense(2, name="head")(layers.GlobalAveragePooling2D(name="mean")(x)))


@pytest.mark.parametrize("deleted", [1, 2, 3, [1, 3]])
def test_a_network_without_a_block_is_the_one_built_without_it(deleted, randomize):
    whole = randomize(small({1, 2, 3}))
    names = [f"block{number}" for number in np.atleast_1d(deleted)]
    bare = without_block(whole, names[0] if isinstance(deleted, int) else names)
    expected = small({1, 2, 3} - set(np.atleast_1d(deleted).tolist()))
    for layer in expected.layers:
        if layer.weights:
            layer.set_weights(whole.get_layer(layer.name).get_weights())
    x = draw((4, 8, 8, 3))
    np.testing.assert_allclose(numpy(bare(x)), numpy(expected(x)), rtol=1e-5, atol=1e-5)
    assert bare.count_params() == expected.count_params()
    before = numpy(whole(x))
    assert np.abs(before - numpy(bare(x))).max() > 1e-3
    shared = [one is other for one, other in zip(bare.get_layer("stem").weights, whole.layers[1].weights, strict=True)]
    assert all(shared)


@pytest.mark.parametrize("name", ["resnet20_cifar", "resnet50_v2", "mobilenet_v2"])
def test_a_zoo_models_block_leaves_its_input(name, randomize):
    model = randomize(zoo.create(name, **SMALL))
    block = next(block for block in residual_blocks(model)[1:] if not block.projection)
    bare = without_block(model, block.name)
    x = draw((2, 32, 32, 3), low=0, high=255)
    join = model.get_layer(block.join)
    start = keras.Model(model.input, join.input[block.shortcut])
    rest = keras.Model(join.output, model.output)
    np.testing.assert_allclose(
        numpy(bare(x, training=False)), numpy(rest(start(x, training=False), training=False)), rtol=1e-4, atol=1e-5
    )
    assert len(residual_blocks(bare)) == len(residual_blocks(model)) - 1
    assert zoo.class_names(bare) == zoo.class_names(model)


def test_squeezenets_bypass_is_a_block():
    images = keras.Input((16, 16, 3))
    design = Design(activation="relu", normalization="none", norm_position="before", join="sum")
    x = layers.Conv2D(16, 3, padding="same", name="stem")(images)
    x = blocks.join([x, blocks.fire(x, 4, 8, design, "fire2")], design, "fire2_bypass")  # simple
    y = layers.Conv2D(32, 1, name="fire3_shortcut")(x)
    x = blocks.join([y, blocks.fire(x, 4, 16, design, "fire3")], design, "fire3_bypass")  # complex
    model = keras.Model(images, x)
    simple, complicated = residual_blocks(model)
    assert (simple.name, simple.projection, simple.convolutions) == ("fire2", False, 2)
    assert (complicated.name, complicated.projection, complicated.convolutions) == ("fire3", True, 2)
    assert without_block(model, "fire2").output_shape == (None, 16, 16, 32)


def test_what_cannot_be_deleted():
    model = zoo.create("mobilenet_v2_cifar", design=NARROW)
    with pytest.raises(ValueError, match="without_block: expected the name of a block with a shortcut, received 'blo"):
        without_block(model, "block4")  # it strides, and has no shortcut
    with pytest.raises(ValueError, match="received 'stage1'. 'vgg_cifar' has none"):
        without_block(zoo.create("vgg_cifar", design=NARROW), "stage1")
    images = keras.Input((1, 1, 4))
    y = layers.Conv2D(4, 1)(layers.Conv2D(4, 1)(layers.UpSampling2D(3)(images)))
    wider = keras.Model(images, layers.Add(name="a_join")([images, y]))  # the sum broadcasts
    with pytest.raises(ValueError, match="expected a block whose shortcut can stand alone, received 'a'"):
        without_block(wider, "a")


def test_residual_norms_are_numpys(randomize):
    model = randomize(small({1, 2, 3}))
    x = draw((5, 8, 8, 3))
    norms = residual_norms(model, x, batch_size=2)
    assert [(row.name, row.depth) for row in norms.rows] == [("block1", 1), ("block2", 2), ("block3", 3)]
    pairs = [("stem", "block1_b"), ("block2_p", "block2_b"), ("block2_act", "block3_b")]
    for row, (main, branch) in zip(norms.rows, pairs, strict=True):
        ends = [model.get_layer(main).output, model.get_layer(branch).output]
        a, b = (np.linalg.norm(numpy(y).reshape(5, -1), axis=1) for y in keras.Model(model.input, ends)(x))
        assert row.shortcut == pytest.approx(a.mean(), rel=1e-5) and row.branch == pytest.approx(b.mean(), rel=1e-5)
        assert row.ratio == pytest.approx((b / a).mean(), rel=1e-5)
    lines = str(norms).splitlines()
    assert lines[0].split() == ["depth", "block", "shortcut", "branch", "ratio"] and len(lines) == 4
    with pytest.raises(ValueError, match="residual_norms: expected a model with residual blocks, received"):
        residual_norms(keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(1, 1)], name="plain"), x)


def test_a_block_that_starts_as_its_shortcut_has_no_norm():
    model = zoo.create("resnet20_cifar", zero_gamma=True, design=NARROW)
    assert all(row.ratio == 0 for row in residual_norms(model, draw((2, 32, 32, 3), low=0, high=255)).rows)
