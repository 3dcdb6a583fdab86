import fnmatch

import keras
import pytest
from keras import layers

from convcraft import zoo
from convcraft.zoo import index, stages
from convcraft.zoo.explanation import ADVICE

FIRST = {module: name for name, module in reversed([(n, index.BUILDERS[b]) for n, b in index.NAMES.items()])}
FAST = {"squeezenet1_0", "resnet20_cifar", "mobilenet_v1", "googlenet", "fractalnet20"}
FAMILIES = [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in FIRST.values()]


@pytest.mark.parametrize("name", FAMILIES)
def test_parts_add_up_and_sections_meet_one(name):
    told, info = zoo.explain(name), zoo.info(name)
    assert sum(row.parameters for row in told.rows) == info.total
    assert sum(row.multiply_adds for row in told.rows) == info.multiply_adds
    assert {key for row in told.rows for key in row.advice} <= set(ADVICE) and len(told.legend) > 1
    names = [row.name for row in told.rows]
    assert len(set(names)) == len(names)
    built = [*names, "auxiliary1"]  # which is there where it is asked for
    assert all(fnmatch.filter(built, pattern) for pattern in info.sections), "a pattern that meets nothing"
    assert all(row.what != "as it is" for row in told.rows[1:])
    text = str(told)
    assert info.source in text and all(name in text for name in names) and f"{info.multiply_adds:,}" in text
    assert max(map(len, text.split("\n\npaper")[0].splitlines())) < 230


def test_a_row_by_hand():
    rows = {row.name: row for row in zoo.explain("squeezenet1_1").rows}
    fire = rows["fire3"]  # 1x1x128x16 + 16, 1x1x16x64 + 64, 3x3x16x64 + 64
    assert (fire.parameters, fire.multiply_adds) == (12_432, 55 * 55 * (128 * 16 + 16 * 64 + 9 * 16 * 64))
    assert fire.output_shape == (55, 55, 128) and fire.section == "section 3.2, table 1"
    assert fire.what == "1x1 16, 3x3 64, 1x1 64, concat; relu"
    assert fire.advice == ("P02", "D03") and rows["stem"].what == "3x3 64 /2; relu"
    assert "P10" in rows["stem"].advice and "D07" in rows["head"].advice and rows["images"].section == ""


def test_repeated_blocks_are_one_row():
    rows = {row.name: row for row in zoo.explain("resnet110_cifar").rows}
    assert list(rows) == [
        *("images", "stem", "stage1_block1-18", "stage2_block1", "stage2_block2-18", "stage3_block1"),
        *("stage3_block2-18", "head"),
    ]
    assert rows["stage2_block2-18"].repeats == 17
    assert rows["stage2_block2-18"].parameters == 17 * (2 * 9 * 32 * 32 + 2 * 4 * 32)
    assert {"P08", "P12", "P09"} <= set(rows["stage1_block1-18"].advice)
    assert "stage2_block2-18 x 17" in str(zoo.explain("resnet110_cifar"))


@pytest.mark.parametrize(
    "name, part, advice",
    [
        ("fractalnet20", "block3", {"P02", "P04", "P05", "P06", "P12"}),
        ("all_cnn_c", "stage1", {"D06"}),
        ("competitive_cifar", "block3_module1", {"P14", "P09"}),
        ("mobilenet_v1_cifar", "block4", {"D04", "P05"}),
        ("sbn", "end", {"T02"}),
    ],
)
def test_advice_that_is_shown(name, part, advice):
    (row,) = [row for row in zoo.explain(name).rows if row.name == part]
    assert advice <= set(row.advice)


def test_names_that_are_none():
    with pytest.raises(ValueError, match="did you mean 'resnet50'"):
        zoo.explain("resnet5")


@pytest.mark.parametrize(
    "name, unit",
    [
        ("stage1_block2_conv1_norm", "stage1_block2"),
        ("block3_module1_3x3", "block3_module1"),
        ("block_12_expand", "block_12"),
        ("fire2_squeeze", "fire2"),
        ("inception3a_5x5_reduce", "inception3a"),
        ("pool1", "pool1"),
        ("pool", "head"),
        ("preprocess", "images"),
    ],
)
def test_units_by_name(name, unit):
    assert stages.unit_of(name) == unit


def test_names_that_keras_made_up_are_grouped_by_size():
    keras.backend.clear_session()
    inputs = x = keras.Input((16, 16, 3))
    for _ in range(2):
        x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same")(x)))
        x = layers.MaxPooling2D()(x)
    x = layers.UpSampling2D()(x)
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))
    assert [unit.name for unit in stages.units(model)] == ["images", "16x16", "8x8", "4x4", "8x8 (4)", "vector"]
    assert sum(stage.parameters for stage in stages.stages(model)) == model.count_params()
