"""Weights of PyTorch and Caffe in our networks: the same outputs as torchvision's; nothing in a file is run."""

import importlib.util
import os
import pickle
import sys

import keras
import numpy as np
import pytest
from harness import draw, numpy

import convcraft
from convcraft import cli, zoo
from convcraft.zoo import Design

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
SMALL_HEAD = Design(head_layers=(12, 9))


@pytest.fixture(scope="module")
def torchvision():
    """torchvision, also where its compiled part is for another build of PyTorch: only detection needs that."""
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("needs torchvision, which is not installed")
    import torch

    try:
        return importlib.import_module("torchvision")
    except RuntimeError:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor boxes, Tensor scores, float threshold) -> Tensor")
        torchvision = importlib.import_module("torchvision")
        torchvision.keep = library  # what it defines goes with it
        return torchvision


def randomized(module, torch):
    """Every parameter drawn by its role; statistics of the normalizations, too."""
    drawn = np.random.default_rng(0)
    with torch.no_grad():
        for name, value in module.state_dict().items():
            shape, kind = tuple(value.shape), name.rpartition(".")[2]
            if len(shape) > 1:
                new = drawn.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
            elif kind in ("weight", "running_var"):
                new = drawn.uniform(0.5, 1.5, shape)
            else:
                new = drawn.normal(0, 0.1, shape)
            value.copy_(torch.from_numpy(np.asarray(new)))
    return module.eval()


def small_head(net, torch, size):
    """The convolutions of an AlexNet or VGG with small dense layers: theirs are half a gigabyte."""
    nn = torch.nn
    dense = [nn.Linear(size, 12), nn.ReLU(), nn.Dropout(), nn.Linear(12, 9), nn.ReLU(), nn.Dropout(), nn.Linear(9, 5)]
    net.classifier = nn.Sequential(*([nn.Dropout()] if size == 9216 else []), *dense)
    return net


def vgg(torchvision, torch, stages, norm):
    plan = [
        part for width, count in zip((16, 32, 64, 128, 512), stages, strict=True) for part in [width] * count + ["M"]
    ]
    layers = torchvision.models.vgg.make_layers(plan, batch_norm=norm)
    return small_head(torchvision.models.VGG(layers, num_classes=5, init_weights=False), torch, 25088)


# ours: (theirs, size of images, options)
FAMILIES = {
    "resnet18": (lambda tv, _: tv.models.resnet18(num_classes=7), 64, {}),
    "resnet50": (lambda tv, _: tv.models.resnet50(num_classes=7), 64, {}),
    "squeezenet1_0": (lambda tv, _: tv.models.squeezenet1_0(num_classes=7), 65, {}),
    "squeezenet1_1": (lambda tv, _: tv.models.squeezenet1_1(num_classes=7), 64, {}),
    "alexnet": (
        lambda tv, torch: small_head(tv.models.alexnet(num_classes=7), torch, 9216),
        224,
        {"design": SMALL_HEAD},
    ),
    "googlenet_bn": (
        lambda tv, _: tv.models.googlenet(num_classes=7, init_weights=False, transform_input=True),
        96,
        {},
    ),
}


def theirs(net, images, torch):
    """What a network of torchvision makes of raw images."""
    x = ((images / 255 - MEAN) / STD).transpose(0, 3, 1, 2).astype("float32")
    with torch.no_grad():
        return net(torch.from_numpy(x)).numpy()


def difference(model, images, expected):
    assert expected.std(0).max() > 1e-2 * np.abs(expected).max(), "the reference tells images apart"
    return np.abs(numpy(model(images, training=False)) - expected).max() / np.abs(expected).max()


def pictures(size, count=3):
    """Raw, of several kinds of brightness: noise alone looks the same everywhere."""
    images = draw((count, size, size, 3), low=0, high=255)
    return images * np.linspace(0.3, 1, count, dtype="float32")[:, None, None, None]


CASES = [(name, ".pth") for name in FAMILIES] + [("resnet18", ".safetensors"), ("alexnet", ".npz")]


@pytest.mark.torch
@pytest.mark.parametrize("name, kind", CASES)
def test_outputs_of_torchvision(name, kind, torchvision, tmp_path, capsys):
    import torch

    build, size, options = FAMILIES[name]
    net = randomized(build(torchvision, torch), torch)
    path = tmp_path / f"net{kind}"
    save(net.state_dict(), path)
    model = zoo.convert(name, path, input_shape=(size, size, 3), **options)
    assert ("num_batches_tracked" in capsys.readouterr().out) == any("running_mean" in key for key in net.state_dict())
    images = pictures(size)
    expected = theirs(net, images, torch)
    found = difference(model, images, expected)
    print(f"{name}{kind}: largest relative difference {found:.1e}")
    assert found < 1e-4
    teeth(model, images, expected)


def teeth(model, images, expected):
    """A kernel permuted in the middle of the network shows."""
    kernels = [layer for layer in model.layers if layer.weights and len(layer.get_weights()[0].shape) == 4]
    layer = kernels[len(kernels) // 2]
    kernel, *rest = layer.get_weights()
    layer.set_weights([np.roll(kernel, 1, axis=2), *rest])
    assert difference(model, images, expected) > 1e-3
    layer.set_weights([kernel, *rest])


def save(state, path):
    import torch

    if path.suffix == ".pth":
        torch.save(state, path)
    elif path.suffix == ".npz":
        np.savez(path, **{name: value.numpy() for name, value in state.items()})
    else:
        from safetensors.torch import save_file

        save_file(state, path)


@pytest.mark.torch
@pytest.mark.parametrize("name, stages", [("vgg11", (1, 1, 2, 2, 2)), ("vgg16_bn", (2, 2, 3, 3, 3))])
def test_vgg_of_torchvision(name, stages, torchvision, tmp_path):
    """Thin: 16, 32, 64, 128 channels; the last stage has its 512, which the dense layers flatten."""
    import torch

    net = randomized(vgg(torchvision, torch, stages, name.endswith("bn")), torch)
    path = tmp_path / "net.pth"
    save({f"module.{key}": value for key, value in net.state_dict().items()}, path)  # as DataParallel names them
    images = pictures(224, 2)
    expected = theirs(net, images, torch)
    with thin_vgg():
        fixed, free = (zoo.convert(name, path, input_shape=(s, s, 3), design=SMALL_HEAD) for s in (224, None))
    for model in (fixed, free):  # where the size is open, the first dense layer is a convolution
        assert difference(model, images, expected) < 1e-4
    teeth(fixed, images, expected)


class thin_vgg:
    """Our VGG with the widths of this test's."""

    def __enter__(self):
        module = importlib.import_module("convcraft.zoo.vgg")
        self.module, self.before, module.WIDTHS = module, module.WIDTHS, (16, 32, 64, 128, 512)

    def __exit__(self, *_):
        self.module.WIDTHS = self.before


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet34", "resnet101", "resnet152"])
def test_outputs_of_deep_resnets(name, torchvision, tmp_path):
    import torch

    net = randomized(getattr(torchvision.models, name)(num_classes=7), torch)
    save(net.state_dict(), tmp_path / "net.pth")
    images = pictures(64)
    model = zoo.convert(name, tmp_path / "net.pth", input_shape=(64, 64, 3))
    assert difference(model, images, theirs(net, images, torch)) < (1e-3 if name == "resnet152" else 1e-4)


@pytest.mark.torch
def test_cifar_resnet_with_projections(torchvision, tmp_path):
    """torchvision's blocks stand in for akamaster's option B, which has the same names."""
    import torch

    nn, blocks = torch.nn, torchvision.models.resnet.BasicBlock

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
            for number, (before, width) in enumerate(((16, 16), (16, 32), (32, 64)), 1):
                down = nn.Sequential(nn.Conv2d(before, width, 1, 2, bias=False), nn.BatchNorm2d(width))
                first = blocks(before, width, 1 if number == 1 else 2, None if number == 1 else down)
                setattr(self, f"layer{number}", nn.Sequential(first, *(blocks(width, width) for _ in range(2))))
            self.linear = nn.Linear(64, 4)

        def forward(self, x):
            x = torch.relu(self.bn1(self.conv1(x)))
            return self.linear(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))

    net = randomized(Net(), torch)
    state = {key.replace("downsample", "shortcut"): value for key, value in net.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "net.pth")
    model = zoo.convert("resnet20_cifar", tmp_path / "net.pth")
    images = pictures(32)
    expected = theirs(net, images, torch)
    assert difference(model, images, expected) < 1e-4
    teeth(model, images, expected)


def to_torch(model, path):
    """A ResNet-20 of ours as akamaster's state dict."""
    arrays = {}
    for layer in model.layers:
        if not layer.weights:
            continue
        stage, _, rest = layer.name.partition("_block")
        block, _, part = rest.partition("_")
        place = f"layer{stage[-1]}.{int(block) - 1}." if rest else ""
        part, norm = (part if rest else stage).removesuffix("_norm"), layer.name.endswith("_norm")
        part = {"stem": "conv1", "stem_norm": "conv1", "head": "linear"}.get(part, part)
        module = place + (part.replace("conv", "bn") if norm else part)
        values = layer.get_weights()
        if not norm:
            values[0] = values[0].T if values[0].ndim == 2 else values[0].transpose(3, 2, 0, 1)
        for kind, value in zip(("weight", "bias", "running_mean", "running_var"), values, strict=False):
            arrays[f"{module}.{kind}"] = value
    np.savez(path, **arrays)
    return arrays


@pytest.fixture
def state(tmp_path, randomize):
    """A small ResNet-20 of ours, the path of its state dict, and its arrays."""
    model = randomize(zoo.create("resnet20_cifar", classes=4, design=Design(width=0.25)))
    path = tmp_path / "state.npz"
    return model, path, to_torch(model, path)


def test_the_result_takes_raw_images_and_is_saved(state, fresh_process, tmp_path):
    model, path, _ = state
    found = zoo.convert("resnet20_cifar", path, design=Design(width=0.25))
    for one, other in zip(model.get_weights(), found.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    x = pictures(32)
    seen = numpy(keras.Model(found.input, found.get_layer("preprocess").output)(x))
    np.testing.assert_allclose(seen, (x / 255 - MEAN) / STD, atol=1e-5)
    outputs, _ = fresh_process.predict(found, x, tmp_path)  # scale and offset are in the file
    np.testing.assert_allclose(outputs, numpy(found(x, training=False)), rtol=1e-5, atol=1e-5)
    # an unprepared network that is given, and other colours
    bare = zoo.create("resnet20_cifar", classes=4, design=Design(width=0.25))
    before = bare.predict(x, verbose=0)  # compiled with the paper's colours
    zoo.convert(bare, path, mean=(1, 2, 3), std=(4, 5, 6))
    seen = numpy(keras.Model(bare.input, bare.get_layer("preprocess").output)(x))
    np.testing.assert_allclose(seen, (x - np.array([1, 2, 3])) / np.array([4, 5, 6]), rtol=1e-5, atol=1e-4)
    after = bare.predict(x, verbose=0)
    np.testing.assert_allclose(after, numpy(bare(x, training=False)), rtol=1e-4, atol=1e-5)
    assert np.abs(after - before).max() > 1e-3


@pytest.mark.parametrize(
    "change, message",
    [
        ({"fc9.weight": np.zeros((3, 3))}, "has more than resnet20_cifar takes: fc9"),
        ({"conv1.weight": None}, "lacks what resnet20_cifar needs: stem"),
        ({"conv1.colour": np.zeros(3)}, "expected arrays named weight, bias, .* received 'conv1.colour'"),
        (
            {"conv1.weight": np.zeros((4, 3, 5, 5))},
            "layer 'stem' .*it has .5, 5, 3, 4., expected .3, 3, 3, 4..*kernel_size",
        ),
        ({"conv1.weight": np.zeros((4, 1, 3, 3))}, "layer 'stem'.*input_shape"),
        ({"conv1.weight": np.zeros((8, 3, 3, 3))}, "layer 'stem'.*width"),
        ({"bn1.running_var": None}, "layer 'stem_norm'.*normalization"),
    ],
)
def test_nothing_is_half_loaded(change, message, state):
    model, path, arrays = state
    arrays = {**arrays, **change}
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    before = model.get_weights()
    for layer in model.layers:
        layer.set_weights([value + 1 for value in layer.get_weights()])
    with pytest.raises(ValueError, match=message):
        zoo.load_weights(model, path)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one + 1, other)


def test_counters_are_skipped_and_said(state, capsys):
    model, path, arrays = state
    np.savez(path, **arrays, **{"bn1.num_batches_tracked": np.array(7)})
    assert zoo.load_weights(model, path).skipped == ("bn1.num_batches_tracked",)
    zoo.convert(model, path)
    assert "1 of the source's skipped" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["resnet20_cifar_v2", "plain_cnn"])
def test_names_that_nothing_is_known_of(name, state):
    with pytest.raises(ValueError, match=f"not PyTorch's names for '{name}'; these are known for .*resnet18"):
        zoo.convert(name, state[1])


class Malicious:
    """What a pickle runs when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.torch
@pytest.mark.parametrize("inside", ["file", "state dict"])
def test_a_malicious_pth_is_refused_and_not_run(inside, tmp_path):
    import torch

    trap = Malicious(tmp_path / "owned")
    torch.save({"conv1.weight": torch.zeros(3), "more": trap} if inside == "state dict" else trap, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"a.pth' is not read: .*more than arrays, which could run anything"):
        zoo.convert("resnet20_cifar", tmp_path / "a.pth")
    assert not (tmp_path / "owned").exists()
    torch.load(tmp_path / "a.pth", weights_only=False)  # the trap works
    assert (tmp_path / "owned").exists()


def test_a_malicious_npz_is_refused_and_not_run(tmp_path):
    values = np.empty(1, object)
    values[0] = Malicious(tmp_path / "owned")
    np.savez(tmp_path / "a.npz", **{"conv1.weight": values})
    with pytest.raises(ValueError, match=r"a.npz' holds more than arrays, and is not read"):
        zoo.convert("resnet20_cifar", tmp_path / "a.npz")
    assert not (tmp_path / "owned").exists()
    np.load(tmp_path / "a.npz", allow_pickle=True)["conv1.weight"]
    assert (tmp_path / "owned").exists()
    (tmp_path / "b.npz").write_bytes(pickle.dumps(Malicious(tmp_path / "again")))
    with pytest.raises(ValueError, match="b.npz"):
        zoo.convert("resnet20_cifar", tmp_path / "b.npz")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize(
    "suffix, package, hint",
    [(".safetensors", "safetensors", r"convcraft\[convert\]"), (".pth", "torch", "state dict as")],
)
def test_what_is_not_installed_is_named(suffix, package, hint, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        if keras.backend.backend() == package:
            pytest.skip("Keras itself needs it")
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / f"a{suffix}").write_bytes(b"?")
    with pytest.raises(ValueError, match=f"needs .*{hint}"):
        zoo.load_weights(zoo.create("resnet20_cifar"), tmp_path / f"a{suffix}")


# a layer of ours: what the authors' Caffe file calls it, and the shape of its kernel there
CAFFE = {
    "googlenet": {
        "stem": ("conv1/7x7_s2", (64, 3, 7, 7)),
        "conv2": ("conv2/3x3", (192, 64, 3, 3)),
        "inception3a_5x5_reduce": ("inception_3a/5x5_reduce", (16, 192, 1, 1)),
        "inception5b_pool_1x1": ("inception_5b/pool_proj", (128, 832, 1, 1)),
        "head": ("loss3/classifier", (1000, 1024)),
    },
    "squeezenet1_0": {"stem": ("conv1", (96, 3, 7, 7)), "fire9_expand3x3": ("fire9/expand3x3", (256, 64, 3, 3))},
}


@pytest.mark.parametrize("name", CAFFE)
def test_names_and_axes_of_caffe(name, tmp_path):
    drawn, arrays = np.random.default_rng(0), {}
    for theirs, shape in CAFFE[name].values():
        arrays[f"{theirs.replace('/', '__')}__kernel"] = drawn.normal(size=shape).astype("float32")
        arrays[f"{theirs.replace('/', '__')}__bias"] = drawn.normal(size=shape[0]).astype("float32")
    np.savez(tmp_path / "a.npz", **arrays)
    model = zoo.create(name)
    report = zoo.load_weights(model, tmp_path / "a.npz", partial=True)
    assert set(report.loaded) == set(CAFFE[name])
    for ours, (theirs, shape) in CAFFE[name].items():
        kernel, bias = model.get_layer(ours).get_weights()
        expected = arrays[f"{theirs.replace('/', '__')}__kernel"]
        expected = expected.T if len(shape) == 2 else np.moveaxis(expected, (0, 1), (3, 2))
        np.testing.assert_array_equal(kernel, expected[:, :, ::-1] if ours == "stem" else expected)
        np.testing.assert_array_equal(bias, arrays[f"{theirs.replace('/', '__')}__bias"])


def test_dense_after_flattening_from_caffe(tmp_path):
    """AlexNet's fc6 sees channels, rows, columns; ours rows, columns, channels."""
    design = Design(head_layers=(3,), width=0.125)
    kernel = np.random.default_rng(0).normal(size=(3, 32, 6, 6)).astype("float32")
    np.savez(tmp_path / "a.npz", fc6__kernel=kernel.reshape(3, -1), fc6__bias=np.zeros(3, "float32"))
    model = zoo.create("alexnet_2012", design=design)
    grid = model.get_layer("pool").input.shape[1:]
    assert grid == (6, 6, 32)
    zoo.load_weights(model, tmp_path / "a.npz", partial=True)
    features = draw((2, *grid))
    found = numpy(model.get_layer("head_dense1")(features.reshape(2, -1)))
    np.testing.assert_allclose(found, np.einsum("nhwc,uchw->nu", features, kernel), rtol=1e-4, atol=1e-4)


def test_the_command(state, tmp_path, capsys):
    """What it writes is a model that takes raw images; bad use is one line."""
    _, path, _ = state
    full = zoo.create("resnet20_cifar", classes=4)
    to_torch(full, path)

    def run(*words):
        status = cli.main(["convert", *map(str, words)])
        return status, *capsys.readouterr()

    status, out, _ = run("resnet20_cifar", path, tmp_path / "out.keras", "--size", 40)
    assert status == 0 and f"resnet20_cifar, {full.count_params():,} parameters, 4 classes" in out
    model = convcraft.load_model(tmp_path / "out.keras")
    assert model.input_shape == (None, 40, 40, 3)
    np.testing.assert_array_equal(model.get_layer("stem").get_weights()[0], full.get_layer("stem").get_weights()[0])
    np.testing.assert_allclose(model.get_layer("preprocess").offset, -MEAN / STD)
    status, _, _ = run("resnet20_cifar", path, tmp_path / "out.keras", "--mean", 1, 2, 3, "--std", 1, 1, 2)
    assert status == 0
    assert convcraft.load_model(tmp_path / "out.keras").get_layer("preprocess").offset == [-1.0, -2.0, -1.5]
    for words, message in [
        (("resnet20_cifar", path, tmp_path / "out.h5"), "OUT to end in .keras"),
        (("resnet20_cifar", path, tmp_path / "nowhere" / "out.keras"), "There is no folder"),
        (("resnet20_cifar", tmp_path / "none.pth", tmp_path / "out.keras"), "There is no file"),
        (("resnet21_cifar", path, tmp_path / "out.keras"), "There is no model named 'resnet21_cifar'. Did you mean"),
        (("resnet32_cifar", path, tmp_path / "out.keras"), "lacks what resnet32_cifar needs"),
    ]:
        status, _, error = run(*words)
        assert status == 2 and message in error and error.count("\n") == 1


def test_files_that_are_none_are_named(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    (tmp_path / "a.npy").rename(tmp_path / "a.npz")
    (tmp_path / "page.npz").write_text("<html>not found</html>")
    for name in ("a.npz", "page.npz"):
        with pytest.raises(ValueError, match=f"{name}' is no .npz file"):
            zoo.convert("resnet20_cifar", tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"junk"])
def test_a_pth_that_is_none_is_named(content, tmp_path):
    pytest.importorskip("torch")
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(ValueError, match=r"a.pth' is not read"):
        zoo.convert("resnet20_cifar", tmp_path / "a.pth")


def test_without_a_head_the_sources_is_left_out(tmp_path):
    """Features alone, out of another library's arrays."""
    whole = zoo.create("resnet20_cifar", classes=4)
    to_torch(whole, tmp_path / "net.npz")
    bare = zoo.convert("resnet20_cifar", tmp_path / "net.npz", head="none")
    images = pictures(32)
    colours = zoo.convert("resnet20_cifar", tmp_path / "net.npz")  # with the source's preprocessing
    features = keras.Model(colours.input, colours.get_layer("head").input)
    np.testing.assert_allclose(bare.predict(images, verbose=0), features.predict(images, verbose=0), rtol=1e-5)
