import re
from xml.etree import ElementTree

import keras
import pytest
from keras import layers
from PIL import ImageFont

from convcraft import zoo
from convcraft.zoo import Design, cost, index
from convcraft.zoo.drawing import WIDTH
from convcraft.zoo.stages import stages

SVG = "{http://www.w3.org/2000/svg}"
FIRST = {module: name for name, module in reversed([(n, index.BUILDERS[b]) for n, b in index.NAMES.items()])}
FAST = ["squeezenet1_1", "googlenet_cifar", "fractalnet20", "resnet_in_resnet", "fcn8s", "water_unet"]
NAMES = [
    *FAST,
    *(pytest.param(name, marks=pytest.mark.slow) for name in sorted({*FIRST.values(), "resnet152"} - {*FAST})),
]


def boxes(root):
    """(left, up, right, down, text) of every text, with what its groups move and shrink it by."""
    found = []

    def walk(element, dx, dy, scale):
        moved = re.match(r"translate\((\S+) (\S+)\)(?: scale\((\S+)\))?", element.get("transform", ""))
        if moved:
            dx, dy, scale = dx + float(moved[1]), dy + float(moved[2]), scale * float(moved[3] or 1)
        if element.tag == f"{SVG}text":
            size = float(element.get("font-size"))
            wide = ImageFont.load_default(size).getlength(element.text)  # a usual sans-serif
            x, y = float(element.get("x")), float(element.get("y"))
            x -= wide / 2 if element.get("text-anchor") == "middle" else 0
            up, down = y - 0.75 * size, y + 0.2 * size
            found.append((dx + scale * x, dy + scale * up, dx + scale * (x + wide), dy + scale * down, element.text))
        for child in element:
            walk(child, dx, dy, scale)

    walk(root, 0.0, 0.0, 1.0)
    return found


def check(model, svg):
    """Valid, whole, nothing overlapping, and the numbers are those of the cost; returns the root element."""
    root = ElementTree.fromstring(svg)
    width, height = float(root.get("width")), float(root.get("height"))
    assert width == WIDTH and root.get("viewBox") == f"0 0 {width:g} {height:g}" and root.get("role") == "img"
    assert root.find(f"{SVG}title").text == model.name
    texts = boxes(root)
    for number, one in enumerate(texts):
        assert one[0] >= 0 and one[2] <= width and one[3] <= height, one
        for other in texts[number + 1 :]:
            apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
            assert apart, (one, other)
    words = [text for *_, text in texts]
    spent, parameters, operations = cost(model), 0, 0
    for stage in stages(model):
        if stage.name != "images":
            assert stage.name in words
            titles = [group.find(f"{SVG}title") for group in root.iter(f"{SVG}g")]
            (title,) = [each.text for each in titles if each is not None and each.text.startswith(f"{stage.name}: ")]
            own, adds = (int(number.replace(",", "")) for number in re.findall(r"([\d,]+) (?:param|multi)", title))
            assert (own, adds) == (stage.parameters, stage.multiply_adds)
            parameters, operations = parameters + own, operations + adds
    assert (parameters, operations) == (spent.parameters, spent.multiply_adds)
    assert f"{spent.parameters:,} parameters, {spent.multiply_adds:,} multiply-adds" in svg
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "") and "prefers-color-scheme:dark" in svg
    return root


@pytest.mark.parametrize("name", NAMES)
def test_every_family_is_drawn(name):
    model = zoo.create(name)
    check(model, zoo.draw(model))


def drawn(svg):
    return [text for *_, text in boxes(ElementTree.fromstring(svg))]


def test_repeated_blocks_are_drawn_once():
    words = drawn(zoo.draw(zoo.create("resnet110_cifar")))
    assert "block2-18, 17 times" in words and "block1-18, 18 times" in words and "18 blocks" in words
    assert words.count("sum") == 5 and words.count("3x3 32") == 3 and words.count("3x3 32 /2") == 1


def test_fractal_columns_stand_side_by_side():
    model = zoo.create("fractalnet20", filters=(8,))
    texts = boxes(check(model, zoo.draw(model)))
    convolutions = [(round((left + right) / 2), round(up)) for left, up, right, _, text in texts if text == "3x3 8"]
    columns = sorted({x for x, _ in convolutions})
    assert [sum(x == column for x, _ in convolutions) for column in columns] == [1, 2, 4]  # seven, shallowest first
    assert len({y for x, y in convolutions if y == min(up for _, up in convolutions)}) == 1
    assert sum(text == "join" for *_, text in texts) == 2 + 1  # one is the legend's


def test_branches_and_auxiliary_classifiers():
    model = zoo.create("googlenet_cifar", auxiliary=True)
    svg = zoo.draw(model)
    check(model, svg)
    words = drawn(svg)
    assert words.count("concat") == 9 and sum(word.startswith("in training: mean") for word in words) == 2
    texts = {text: (left, up) for left, up, _, _, text in boxes(ElementTree.fromstring(svg))}
    # 3a: 1x1 64 | 1x1 96, 3x3 128 | 1x1 16, 5x5 32 | max, 1x1 32
    assert texts["1x1 96"][0] < texts["1x1 16"][0] and texts["1x1 96"][1] == texts["1x1 16"][1]


def test_skips_say_where_they_come_from():
    words = drawn(zoo.draw(zoo.create("fcn8s", design=Design(width=0.1))))
    assert {"from pool4", "from pool3", "from above"} <= set(words)


def test_any_functional_model(tmp_path):
    inputs = x = keras.Input((32, 32, 3))
    for filters in (8, 16):
        y = layers.Conv2D(filters, 3, padding="same")(layers.SeparableConv2D(filters, 3, padding="same")(x))
        x = layers.MaxPooling2D()(layers.Add()([layers.Conv2D(filters, 1)(x), y]))
    inner = keras.Sequential([keras.Input((8, 8, 16)), layers.Conv2D(4, 1)], name="inner")
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(inner(x))), name="<a & b>")
    path = tmp_path / "a.svg"
    svg = zoo.draw(model, path)
    assert path.read_text("utf-8") == svg == svg._repr_svg_()
    check(model, svg)
    many = keras.Sequential([keras.Input((8, 8, 1)), *[layers.Conv2D(1, 1) for _ in range(50)]])
    check(many, zoo.draw(many))


def test_published_keras_models():
    model = keras.applications.MobileNetV2(weights=None, input_shape=(96, 96, 3))
    check(model, zoo.draw(model))


def test_sizes_must_be_known():
    with pytest.raises(ValueError, match="expected a model with a fixed input size"):
        zoo.draw(zoo.create("squeezenet_cifar", input_shape=(None, None, 3)))
