"""Weights that others trained and published, put into our networks, must recognize what they recognized elsewhere."""

import numpy as np
import pytest
from PIL import Image

from convcraft import zoo


@pytest.fixture(scope="module")
def squeezenet(shared):
    """SqueezeNet 1.1 with the authors' ImageNet weights; their kernels are OIHW and read BGR."""
    arrays = np.load(shared / "weights/squeezenet_v1.1/squeezenet_v1.1_from_ncnn_fp16.npz")
    model = zoo.create("squeezenet1_1", classes=1000, input_shape=(227, 227, 3))
    for layer in model.layers:
        if layer.weights:
            name = {"stem": "conv1", "head": "conv10"}.get(layer.name, layer.name.replace("squeeze", "squeeze1x1"))
            kernel = arrays[f"{name.replace('_', '__')}__kernel"].astype("float32").transpose(2, 3, 1, 0)
            kernel = kernel[:, :, ::-1] if layer.name == "stem" else kernel
            layer.set_weights([kernel, arrays[f"{name.replace('_', '__')}__bias"]])
    return model


@pytest.fixture(scope="module")
def imagenet(shared):
    """One image of every tenth class: crops of 227 pixels, and the classes' numbers."""
    files = sorted((shared / "data/imagenet_sample").glob("*.JPEG"))
    assert len(files) == 100
    crops = []
    for file in files:
        image = np.asarray(Image.open(file).convert("RGB"))
        assert min(image.shape[:2]) == 256
        top, left = ((size - 227) // 2 for size in image.shape[:2])
        crops.append(image[top : top + 227, left : left + 227])
    return np.stack(crops), np.arange(0, 1000, 10)


def hits(model, images, labels):
    """How many are recognized, at first and within five guesses."""
    guesses = np.argsort(-model.predict(images, batch_size=25, verbose=0), axis=1)[:, :5]
    return (guesses[:, 0] == labels).sum(), (guesses == labels[:, None]).any(axis=1).sum()


def test_squeezenet_recognizes_imagenet(squeezenet, imagenet):
    # another implementation of the same weights: 66 and 86
    top1, top5 = hits(squeezenet, *imagenet)
    print(f"SqueezeNet 1.1 on 100 ImageNet images: top-1 {top1}, top-5 {top5}")
    assert 64 <= top1 <= 68 and 84 <= top5 <= 88


@pytest.mark.parametrize("harm", ["one kernel permuted", "colours reversed"])
def test_the_check_on_imagenet_has_teeth(squeezenet, imagenet, harm):
    layer = squeezenet.get_layer("fire4_expand3x3" if harm == "one kernel permuted" else "stem")
    kernel, bias = layer.get_weights()
    harmed = kernel[..., np.random.default_rng(0).permutation(kernel.shape[-1])]
    try:
        layer.set_weights([harmed if harm == "one kernel permuted" else kernel[:, :, ::-1], bias])
        top1, top5 = hits(squeezenet, *imagenet)
    finally:
        layer.set_weights([kernel, bias])
    assert top1 < 64 and top5 < 84


@pytest.fixture(scope="module")
def resnet(shared):
    """ResNet-20 with akamaster's CIFAR-10 weights, and images standardized as there."""
    arrays = np.load(shared / "weights/cifar_resnet20/resnet20_float32.npz")
    model = zoo.create("resnet20_cifar")
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    model.get_layer("preprocess").scale = list(1 / (255 * std))
    model.get_layer("preprocess").offset = list(-mean / std)
    for layer in model.layers:
        if not layer.weights:
            continue
        if layer.name == "head":
            layer.set_weights([arrays["linear.weight"].T, arrays["linear.bias"]])
            continue
        place, norm, _ = layer.name.partition("_norm")
        stage, block, source = ("", "", "conv1") if place == "stem" else place.split("_")
        prefix = f"layer{stage[-1]}.{int(block[-1]) - 1}." if stage else ""
        if norm:
            bn = prefix + source.replace("conv", "bn")
            layer.set_weights([arrays[f"{bn}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")])
        else:
            layer.set_weights([arrays[f"{prefix}{source}.weight"].transpose(2, 3, 1, 0)])
    return model


def accuracy(model, shared, batches):
    rows = [np.asarray(Image.open(shared / f"data/cifar10/cifar10_batch_{k}.png")) for k in range(batches)]
    images = np.concatenate([row.reshape(-1, 32, 32, 3) for row in rows])
    labels = np.load(shared / "data/cifar10/jpegq75_train.npz")["labels"][: len(images)]
    found = (model.predict(images, batch_size=250, verbose=0).argmax(axis=1) == labels).mean()
    print(f"ResNet-20 on {len(images)} CIFAR-10 training images: {found:.2%}")
    return found


@pytest.mark.parametrize("batches", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_resnet_recognizes_cifar(resnet, shared, batches):
    assert accuracy(resnet, shared, batches) >= 0.99


@pytest.mark.parametrize("harm", ["one kernel permuted", "scaled 255 times", "kernels flipped"])
def test_the_check_on_cifar_has_teeth(resnet, shared, harm):
    layer, first = resnet.get_layer("stage2_block1_conv2"), resnet.get_layer("preprocess")
    weights, scale, offset = layer.get_weights(), first.scale, first.offset
    try:
        if harm == "one kernel permuted":
            layer.set_weights([weights[0][..., np.random.default_rng(0).permutation(32)]])
        elif harm == "kernels flipped":
            layer.set_weights([weights[0][::-1, ::-1]])
        else:  # as though images were expected from 0 to 1
            first.scale, first.offset = [255 * s for s in scale], offset
        resnet.predict_function = None  # the layer's numbers are part of the compiled function
        assert accuracy(resnet, shared, 1) < 0.97
    finally:
        layer.set_weights(weights)
        first.scale, first.offset = scale, offset
        resnet.predict_function = None
