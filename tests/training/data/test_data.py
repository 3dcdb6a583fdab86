"""Loading from every kind of source, against scikit-learn, Pillow and NumPy, and what must be refused."""

import csv
import itertools
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from convcraft.training import data
from convcraft.training.data import stored
from convcraft.training.data.sources import CLASS_NAMES
from convcraft.training.data.splits import stratified

RNG = np.random.default_rng(0)
COLOURS = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}


def arrays(n=40, classes=4, shape=(8, 8, 3)):
    return RNG.integers(0, 256, (n, *shape), np.uint8), np.arange(n) % classes


def folder(root, number=6, size=(20, 30), mode="RGB", classes=COLOURS, start=0):
    """A folder of classes; each image has a shade of its own."""
    for name, colour in classes.items():
        (root / name).mkdir(parents=True)
        for index in range(start, start + number):
            image = Image.new("RGB", size, tuple(c * (200 - index) // 255 for c in colour))
            image.convert(mode).save(root / name / f"{index}.png")
    return root


def by_content(loaded):
    """Image bytes by split."""
    return {split: [image.tobytes() for image in loaded.arrays(split)[0]] for split in loaded.counts}


# names


def test_digits_are_scikit_learn_s():
    loaded = data.load("digits")
    digits = load_digits()
    assert loaded.image_shape == (32, 32, 1) and loaded.class_names == [str(i) for i in range(10)]
    assert {split: sum(loaded.counts[split].values()) for split in loaded.counts} == {
        "train": 1293,
        "val": 144,
        "test": 360,
    }
    expected = {}
    for image, label in zip(digits.images, digits.target, strict=True):
        scaled = Image.fromarray((image * 255 / 16).astype(np.float32)).resize((32, 32), Image.Resampling.BILINEAR)
        expected.setdefault(np.asarray(scaled).tobytes(), []).append(int(label))
    found = {}
    for split in loaded.counts:
        images, labels = loaded.arrays(split)
        assert images.dtype == np.float32 and labels.dtype == np.int32
        for image, label in zip(images, labels, strict=True):
            found.setdefault(image.tobytes(), []).append(int(label))
    assert found == expected
    np.testing.assert_allclose(list(loaded.counts["test"].values()), np.bincount(digits.target) / 1797 * 360, atol=1)


def test_digits_test_set_is_fixed_and_validation_follows_the_seed():
    first, again, other = (by_content(data.load("digits", seed=seed)) for seed in (0, 0, 1))
    assert first == again
    assert first["test"] == other["test"] and first["val"] != other["val"]


def test_digits_at_their_own_size():
    images, _ = data.load("digits", size=8).arrays("test")
    assert images.shape == (360, 8, 8, 1)
    assert set(np.unique(images)) <= set((np.arange(17) * 255 / 16).astype(np.float32))


def test_names_come_from_the_data_folder_first(tmp_path, monkeypatch):
    x, y = arrays()
    np.savez(tmp_path / "digits.npz", x=x, y=y)
    folder(tmp_path / "colours")
    monkeypatch.setenv("CONVCRAFT_DATA", str(tmp_path))
    assert data.load("digits").image_shape == (8, 8, 3)
    assert data.load("colours").class_names == sorted(COLOURS)
    with pytest.raises(ValueError, match="cifar100.*'colour'.*colours, digits.*Did you mean 'colours'"):
        data.load("colour")


def test_a_name_wins_over_a_folder_beside_you_unless_it_is_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder(tmp_path / "digits")
    named = data.load("digits")
    assert len(named.class_names) == 10 and "'./digits'" in str(named.report)
    for source in ("./digits", pathlib.Path("digits")):
        assert data.load(source).class_names == sorted(COLOURS)


def test_unknown_names_and_paths(monkeypatch, tmp_path):
    monkeypatch.delenv("CONVCRAFT_DATA", raising=False)
    with pytest.raises(ValueError, match="Did you mean 'cifar10'"):
        data.load("cifar_10")
    with pytest.raises(FileNotFoundError, match="no such path"):
        data.load(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="no such path"):
        data.load("none.npz")
    with pytest.raises(ValueError, match="pass the arrays"):
        data.load("hf:mnist")
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(ValueError, match=r"\.csv or an \.npz"):
        data.load(tmp_path / "a.txt")


def test_keras_datasets_and_what_to_do_offline(monkeypatch):
    import keras

    monkeypatch.delenv("CONVCRAFT_DATA", raising=False)
    x, y = RNG.integers(0, 256, (200, 28, 28), np.uint8), (np.arange(200) % 10).astype(np.uint8)
    monkeypatch.setattr(keras.datasets.fashion_mnist, "load_data", lambda: ((x[:150], y[:150]), (x[150:], y[150:])))
    loaded = data.load("fashion_mnist")
    assert loaded.class_names[9] == "Ankle boot" and loaded.image_shape == (28, 28, 1)
    np.testing.assert_array_equal(loaded.arrays("test")[0][..., 0], x[150:])

    def offline():
        raise Exception("URL fetch failure on https://example.org")

    monkeypatch.setattr(keras.datasets.cifar10, "load_data", offline)
    with pytest.raises(FileNotFoundError, match=r"Put cifar10.npz .* CONVCRAFT_DATA"):
        data.load("cifar10")
    assert [len(set(CLASS_NAMES[name])) for name in ("mnist", "fashion_mnist", "cifar10", "cifar100")] == [
        10,
        10,
        10,
        100,
    ]
    assert CLASS_NAMES["cifar100"] == sorted(CLASS_NAMES["cifar100"])


# folders


def test_folder_of_classes(tmp_path):
    folder(tmp_path)
    (tmp_path / "red" / "deeper").mkdir()
    Image.new("RGB", (20, 30), (7, 0, 0)).save(tmp_path / "red" / "deeper" / "x.bmp")
    (tmp_path / "red" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "red" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / ".git").mkdir()
    (tmp_path / "README").write_text("hello")
    (tmp_path / "blue" / "LICENSE").write_text("MIT")
    (tmp_path / "blue" / "cut.png").write_bytes((tmp_path / "blue" / "0.png").read_bytes()[:-30])
    (tmp_path / "green" / "zero.jpg").write_bytes(b"")
    loaded = data.load(tmp_path, validation=0.2)
    assert loaded.class_names == ["blue", "green", "red"] and loaded.image_shape == (30, 20, 3)
    assert sorted(name for name, _ in loaded.report.unreadable) == [
        "blue/LICENSE",
        "blue/cut.png",
        "green/zero.jpg",
    ]
    text = str(loaded.report)
    assert all(part in text for part in ("blue/LICENSE", "blue/cut.png", "green/zero.jpg: the file is empty", "README"))
    assert ".DS_Store" not in text and "Thumbs" not in text
    total = {name: sum(loaded.counts[split][name] for split in loaded.counts) for name in COLOURS}
    assert total == {"blue": 6, "green": 6, "red": 7}
    assert all(number for split in loaded.counts for number in loaded.counts[split].values())
    for split in loaded.counts:
        images, labels = loaded.arrays(split)
        channel = {"blue": 2, "green": 1, "red": 0}
        assert [int(i) for i in images.sum((1, 2)).argmax(1)] == [channel[loaded.class_names[k]] for k in labels]


def test_split_folders(tmp_path):
    for index, split in enumerate(["training", "Valid", "test"]):
        folder(tmp_path / split, number=2 + index, start=10 * index)
    loaded = data.load(tmp_path)
    assert {split: sum(loaded.counts[split].values()) for split in loaded.counts} == {
        "train": 6,
        "val": 9,
        "test": 12,
    }


def test_validation_without_test_serves_as_test(tmp_path):
    folder(tmp_path / "train", number=10)
    folder(tmp_path / "val", number=2, start=20)
    loaded = data.load(tmp_path, validation=0.3)
    assert {split: sum(loaded.counts[split].values()) for split in loaded.counts} == {
        "train": 21,
        "val": 9,
        "test": 6,
    }
    assert "serves as test" in str(loaded.report)
    shades = set(loaded.arrays("test")[0].max((1, 2, 3)).tolist())
    assert shades == {180, 179}


def test_a_class_may_be_called_train(tmp_path):
    folder(tmp_path, classes={"train": (9, 9, 9), "bus": (99, 9, 9)})
    assert data.load(tmp_path).class_names == ["bus", "train"]


def test_grey_mixed_and_forced_channels(tmp_path):
    folder(tmp_path / "grey", mode="L")
    assert data.load(tmp_path / "grey").image_shape == (30, 20, 1)
    forced = data.load(tmp_path / "grey", channels=3)
    np.testing.assert_array_equal(
        forced.arrays("test")[0], np.repeat(data.load(tmp_path / "grey").arrays("test")[0], 3, -1)
    )
    folder(tmp_path / "mixed")
    Image.new("L", (20, 30), 50).save(tmp_path / "mixed" / "red" / "0.png")
    mixed = data.load(tmp_path / "mixed")
    assert mixed.image_shape == (30, 20, 3)
    assert mixed.report.conversions == {"grey repeated to RGB": 1}
    assert data.load(tmp_path / "mixed", channels=1).image_shape == (30, 20, 1)


def test_differing_sizes_need_a_size(tmp_path):
    folder(tmp_path)
    Image.new("RGB", (50, 40)).save(tmp_path / "red" / "big.png")
    with pytest.raises(ValueError, match=r"2 sizes.*30x20 \(18 of 19\), 40x50 \(1 of 19\).*size=20"):
        data.load(tmp_path)
    loaded = data.load(tmp_path, size=(12, 16))
    assert loaded.image_shape == (12, 16, 3)
    assert loaded.report.sizes == {(30, 20): 18, (40, 50): 1} and "40x50 (1)" in str(loaded.report)


def test_files_on_disk_give_what_files_in_memory_give(tmp_path, monkeypatch):
    folder(tmp_path)
    Image.new("L", (33, 44), 120).save(tmp_path / "red" / "grey.png")
    in_memory = data.load(tmp_path, size=9)
    monkeypatch.setattr(stored, "MEMORY_LIMIT", 3000)
    on_disk = data.load(tmp_path, size=9)
    assert [type(loaded.sources["train"]).__name__ for loaded in (in_memory, on_disk)] == [
        "ArraySource",
        "FileSource",
    ]
    assert by_content(in_memory) == by_content(on_disk)
    assert in_memory.sha256 == on_disk.sha256
    on_disk.sources["train"].paths[0].unlink()
    with pytest.raises(ValueError, match="not any more: no such file"):
        on_disk.arrays("train")


def test_copies_in_two_splits_are_reported(tmp_path):
    folder(tmp_path / "train", number=4)
    folder(tmp_path / "test", number=4, start=3)
    assert "3 images stand both in train and in test" in str(data.load(tmp_path).report)


def test_folders_that_are_refused(tmp_path):
    def refused(match, name, **options):
        with pytest.raises(ValueError, match=match):
            data.load(tmp_path / name, **options)

    (tmp_path / "empty").mkdir()
    refused("empty folder", "empty")
    (tmp_path / "flat").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "flat" / "a.png")
    refused("a folder for each class.*files and no folder: ", "flat")
    folder(tmp_path / "one", classes={"red": (255, 0, 0)})
    refused("two classes.*'red'", "one")
    folder(tmp_path / "hollow")
    (tmp_path / "hollow" / "yellow").mkdir()
    refused("every class.*none of 'yellow'", "hollow")
    (tmp_path / "hollow" / "yellow" / "a.png").write_bytes(b"")
    refused("none of 'yellow'.*yellow/a.png: the file is empty", "hollow")
    for name in ("a", "b"):
        (tmp_path / "bad" / name).mkdir(parents=True)
        (tmp_path / "bad" / name / "x.png").write_bytes(b"")
    refused("none readable among 2.*a/x.png", "bad")
    folder(tmp_path / "differ" / "train")
    folder(tmp_path / "differ" / "test", classes={"red": (255, 0, 0), "violet": (255, 0, 255)})
    refused("same class folders in train and test.*'blue', 'green', 'violet'", "differ")
    folder(tmp_path / "noval" / "test")
    refused("a folder 'train'", "noval")
    for split in ("train", "test"):
        (tmp_path / "unsorted" / split).mkdir(parents=True)
        Image.new("L", (4, 4)).save(tmp_path / "unsorted" / split / "a.png")
    refused("no class folders", "unsorted")
    folder(tmp_path / "twice" / "train")
    folder(tmp_path / "twice" / "val")
    folder(tmp_path / "twice" / "validation")
    refused("one folder for 'val'", "twice")
    folder(tmp_path / "kaggle" / "train")
    (tmp_path / "kaggle" / "test").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "kaggle" / "test" / "a.png")
    refused("a folder for each class in .*test", "kaggle")


# tables


def table(path, header, rows):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def test_table_of_paths(tmp_path):
    folder(tmp_path / "images", number=4)
    rows = [
        (f"images/{name}/{i}.png", number, "test" if i == 3 else "train")
        for number, name in zip((10, 9, 2), COLOURS, strict=True)
        for i in range(4)
    ]
    loaded = data.load(table(tmp_path / "t.csv", ["Path", "Label", "split"], [*rows, ("images/none.png", 2, "")]))
    assert loaded.class_names == ["2", "9", "10"]  # in numeric order
    assert loaded.counts["test"] == {"2": 1, "9": 1, "10": 1}
    assert loaded.report.unreadable == [("images/none.png", "no such file")]
    images, labels = loaded.arrays("test")
    assert dict(zip(labels.tolist(), images.sum((1, 2)).argmax(1).tolist(), strict=True)) == {
        2: 2,
        1: 1,
        0: 0,
    }


def test_tables_that_are_refused(tmp_path):
    folder(tmp_path / "images", number=2)
    ok = [("images/red/0.png", "red"), ("images/blue/0.png", "blue")]
    for header, rows, match in [
        (["name", "label"], ok, "columns file.*received 'name', 'label'"),
        (["file", "label"], [*ok, ("images/red/1.png", "")], "a label.*line 4"),
        (["file", "label", "split"], [(*ok[0], "train"), (*ok[1], "holdout")], "'holdout' in line 3"),
        (["file", "label", "split"], [(*ok[0], "train"), (*ok[1], "test")], "'blue' elsewhere"),
        (["file", "label"], [], "training images"),
    ]:
        with pytest.raises(ValueError, match=match):
            data.load(table(tmp_path / "t.csv", header, rows))
    for content, match in [
        ("file,label\nimages/red/0.png,M\xe4use\n".encode("latin-1"), r"t\.csv in UTF-8, received b'\\xe4'"),
        (b"file,label\n" + b"x" * 200_000 + b",red\n", r"t\.csv to be a table with commas: field larger"),
    ]:
        (tmp_path / "t.csv").write_bytes(content)
        with pytest.raises(ValueError, match=match):
            data.load(tmp_path / "t.csv")


def test_labels_that_only_look_like_numbers_are_names(tmp_path):
    folder(tmp_path / "images", number=4)
    names = {"red": "\u00b2", "green": "--1", "blue": "10"}
    rows = [(f"images/{colour}/{number}.png", name) for colour, name in names.items() for number in range(4)]
    with open(tmp_path / "t.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("file", "label"), *rows])
    assert data.load(tmp_path / "t.csv").class_names == sorted(names.values())


# arrays


def test_well_known_archives_know_their_classes(tmp_path):
    x, y = np.zeros((20, 8, 8, 3), "uint8"), np.arange(20) % 10
    for name, classes in {"cifar10_jpeg": "cat", "fashion_mnist": "Dress", "mine": "3", "cifar100": "3"}.items():
        np.savez(tmp_path / f"{name}.npz", x_train=x, y_train=y)
        assert data.load(tmp_path / f"{name}.npz", validation=0).class_names[3] == classes
    np.savez(tmp_path / "cifar10.npz", x_train=x, y_train=y, names=list("abcdefghij"))
    assert data.load(tmp_path / "cifar10.npz", validation=0).class_names[3] == "d", "its own names come first"


def test_npz_with_names_and_strings(tmp_path):
    x, y = arrays()
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y[:, None], x_test=x, y_test=y, names=list("abcd"), extra=1)
    loaded = data.load(tmp_path / "a.npz", validation=0)
    assert loaded.class_names == list("abcd") and loaded.val is None and "val" not in loaded.counts
    np.testing.assert_array_equal(loaded.arrays("train")[0], x)
    np.testing.assert_array_equal(loaded.arrays("train")[1], y)
    assert "'extra' ignored" in str(loaded.report)
    strings = data.load((x, np.array(list("dcba"))[y]), validation=0)
    assert strings.class_names == list("abcd")
    assert set(strings.arrays("test")[1].tolist()) == {0, 1, 2, 3}
    np.savez(tmp_path / "o.npz", x=x, y=np.array(["a", None] * 20, object))
    with pytest.raises(ValueError, match="plain arrays"):
        data.load(tmp_path / "o.npz")
    (tmp_path / "o.npz").write_bytes(b"")
    with pytest.raises(ValueError, match="plain arrays"):
        data.load(tmp_path / "o.npz")


def test_splits_are_disjoint_stratified_and_complete():
    x, y = arrays(200)
    loaded = data.load((x, y), validation=0.25, seed=3)
    contents = by_content(loaded)
    assert {split: len(images) for split, images in contents.items()} == {"train": 135, "val": 45, "test": 20}
    everything = list(itertools.chain.from_iterable(contents.values()))
    assert sorted(everything) == sorted(image.astype(np.float32).tobytes() for image in x)
    for counts in loaded.counts.values():
        assert max(counts.values()) - min(counts.values()) <= 1
    again, other = (by_content(data.load((x, y), validation=0.25, seed=seed)) for seed in (3, 4))
    assert contents == again
    assert contents["test"] == other["test"] and contents["val"] != other["val"]
    fewer = by_content(data.load((x, y), validation=0.1, seed=3))
    assert contents["test"] == fewer["test"], "results with another validation set can be compared"
    assert "test: 20 of 200" in str(loaded.report)


def test_stratified_takes_one_of_each_class_and_never_the_last():
    labels = np.repeat(np.arange(4, dtype=np.int32), [1, 2, 30, 67])
    rest, cut = stratified(labels, 10, seed=0)
    assert sorted([*rest, *cut]) == list(range(100))
    assert np.bincount(labels[cut], minlength=4).tolist() == [0, 1, 3, 6]
    assert len(stratified(labels, 50, seed=0)[1]) == 50


def test_keras_style_pairs_and_grey_arrays():
    x, y = arrays(shape=(8, 8))
    loaded = data.load(((x, y), (x[:8], y[:8])))
    assert loaded.image_shape == (8, 8, 1)
    np.testing.assert_array_equal(loaded.arrays("test")[0][..., 0], x[:8])


def test_other_types_become_0_to_255():
    x, y = arrays(shape=(4, 4, 1))
    half = (x > 127).astype(bool)
    np.testing.assert_array_equal(
        data.load({"x_train": half, "y_train": y, "x_test": half, "y_test": y}).arrays("test")[0],
        half * 255.0,
    )
    wide = x.astype(np.uint16) * 257
    loaded = data.load({"x_train": wide, "y_train": y, "x_test": wide, "y_test": y})
    np.testing.assert_array_equal(loaded.arrays("test")[0], x)
    assert loaded.report.conversions == {"16-bit values divided by 257": 80}


def test_arrays_are_resized_as_pillow_does():
    x, y = arrays(shape=(10, 14, 3))
    loaded = data.load({"x_train": x, "y_train": y, "x_test": x, "y_test": y}, size=(6, 5))
    expected = np.asarray(Image.fromarray(x[0]).resize((5, 6), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(loaded.arrays("test")[0][0], expected)


X, Y = arrays()


@pytest.mark.parametrize(
    ("source", "match"),
    [
        ((X / 255, Y), "floats up to .*multiply by 255"),
        ((X.astype(np.float32) - 128, Y), "within 0-255, received -128"),
        ((np.where(X[3, 0, 0, 0] == X, np.nan, X), Y), "NaN or infinity in .*images"),
        ((X.transpose(0, 3, 1, 2), Y), "transpose"),
        ((X[:, 0, 0], Y), "shape"),
        ((X, Y[:-1]), "as many images as labels"),
        ((X[:0], Y[:0]), "at least one"),
        ((X, Y - 1), "y_train >= 0, received -1"),
        ((X, Y + 0.5), "integers or strings"),
        ((X, np.eye(4)[Y]), "argmax"),
        ((X, Y * 0), "two classes"),
        ((X, Y * 2), "none of '1', '3', '5'"),
        ((X, Y + 10**9), "none of '0'"),
        ({"x": X, "y": Y, "names": ["a", "b"]}, "labels 0 to 1 .*received 3"),
        ({"x": X, "y": Y, "names": list("abcde")}, "none of 'e'"),
        ({"x": X, "y": Y, "names": list("abad")}, "name once, received 'a'"),
        ({"x": X, "y": Y, "x_test": X}, "both x_test and y_test"),
        ({"x": X, "y": Y, "x_test": X[:, 1:], "y_test": Y}, "one shape"),
        ({"images": X}, "received images"),
        ((X[:4], Y[:4]), "at least two images of some class"),
        (3, "a name, a path"),
    ],
)
def test_arrays_that_are_refused(source, match):
    with pytest.raises(ValueError, match=match):
        data.load(source)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"validation": 1}, "validation"),
        ({"validation": -0.1}, "validation"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 2.5}, "batch_size"),
        ({"seed": -1}, "seed"),
        ({"size": 0}, "size"),
        ({"size": (8, 8, 3)}, "size"),
        ({"size": 8.5}, "size"),
        ({"channels": 2}, "channels"),
        ({"augment": "flip"}, "augment"),
    ],
)
def test_options_that_are_refused(options, match):
    with pytest.raises(ValueError, match=f"Expected {match}"):
        data.load((X, Y), **options)


# the result


def test_sha256_is_of_the_data_alone():
    digests = {data.load((X, Y), seed=seed, size=size).sha256 for seed, size in [(0, None), (1, None), (0, 16)]}
    other = X.copy()
    other[5, 0, 0, 0] ^= 1
    relabelled = Y.copy()
    relabelled[[0, 1]] = relabelled[[1, 0]]
    assert len(digests) == 1 and len(digests.copy().pop()) == 64
    assert not digests & {data.load((other, Y)).sha256, data.load((X, relabelled)).sha256}


def test_twenty_images_train_with_a_batch_of_128():
    import keras

    loaded = data.load((X[:20], Y[:20]), batch_size=128)
    assert int(loaded.train.cardinality()) == int(loaded.val.cardinality()) == 1
    model = keras.Sequential([keras.Input(loaded.image_shape), keras.layers.Flatten(), keras.layers.Dense(4)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    model.fit(loaded.train, validation_data=loaded.val, shuffle=False, verbose=0)
    assert int(model.optimizer.iterations) == 1
    ((images, labels),) = loaded.train.as_numpy_iterator()
    assert images.dtype == np.float32 and labels.dtype == np.int32


def test_only_training_is_augmented():
    loaded = data.load((X, Y), augment=lambda images, seeds: images * 0)
    assert not any(images.any() for images, _ in loaded.train.as_numpy_iterator())
    assert all(images.any() for images, _ in loaded.test.as_numpy_iterator())
    assert loaded.arrays("train")[0].any()
    with pytest.raises(ValueError, match="one of train, val, test, received 'valid'"):
        loaded.feed("valid")


def test_check_fits():
    loaded = data.load((X, Y))
    data.check_fits(loaded, 8, "net")
    with pytest.raises(ValueError, match="at least 16x16 for net.*received 8x8.*size=16"):
        data.check_fits(loaded, 16, "net")


def test_importing_and_loading_needs_no_framework():
    code = (
        "import sys; from convcraft.training import data; data.load('digits').arrays('val');"
        "assert not {'tensorflow', 'keras', 'torch', 'jax'} & set(sys.modules)"
    )
    path = os.pathsep.join(filter(None, sys.path))
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": path})


# the user's own tf.data


def dataset(x=X, y=Y):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((x, y))


def test_own_tf_data_batched_or_not():
    whole = data.load((dataset(), dataset().batch(7), dataset(X[:9], Y[:9])), batch_size=16)
    assert whole.image_shape == (8, 8, 3) and whole.sha256 is None and whole.sources == {}
    assert [int(ds.cardinality()) for ds in (whole.train, whole.val, whole.test)] == [3, 6, 1]
    assert whole.counts["test"] == {"0": 3, "1": 2, "2": 2, "3": 2}
    for split, n in (("train", 40), ("val", 40), ("test", 9)):
        images, labels = whole.arrays(split)
        assert images.dtype == np.float32 and labels.dtype == np.int32
        np.testing.assert_array_equal(images, X[:n])
        np.testing.assert_array_equal(labels, Y[:n])
    feed = whole.feed("train")
    feed.start = 2
    np.testing.assert_array_equal(next(feed.dataset().as_numpy_iterator())[1], Y[32:])
    assert feed.steps == 3
    with pytest.raises(ValueError, match=r"multiples of 2 replicas, received batches of \[5, 7\]"):
        whole.feed("val", multiple_of=2)


def test_own_tf_data_of_unknown_length_as_dictionaries_of_mixed_sizes():
    import tensorflow as tf

    def generate():
        for i in range(12):
            yield {"image": X[i][: 4 + i % 3], "label": [Y[i]]}

    spec = {"image": tf.TensorSpec([None, None, 3], tf.uint8), "label": tf.TensorSpec([1], tf.int64)}
    source = tf.data.Dataset.from_generator(generate, output_signature=spec)
    with pytest.raises(ValueError, match="one shape.*size="):
        data.load(source)
    loaded = data.load({"train": source, "val": source}, size=6, batch_size=5)
    assert loaded.image_shape == (6, 6, 3) and int(loaded.train.cardinality()) == 3
    assert "serves as test" in str(loaded.report)
    expected = np.asarray(Image.fromarray(X[0][:4]).resize((6, 6), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(loaded.arrays("test")[0][0], expected, atol=1)


def test_own_tf_data_alone_has_neither_validation_nor_test():
    loaded = data.load(dataset().batch(8))
    assert loaded.val is None and loaded.test is None and list(loaded.counts) == ["train"]


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: dataset().repeat(), "finite"),
        (lambda: dataset(X / 255), "multiply by 255"),
        (lambda: dataset(X, np.eye(4)[Y]), "argmax"),
        (lambda: dataset(X, np.eye(4, dtype=int)[Y]).batch(4), "argmax"),
        (lambda: dataset(X, Y - 1), ">= 0"),
        (lambda: dataset(X, Y * 2), "none of"),
        (lambda: dataset().take(0), "empty"),
        (lambda: dataset().map(lambda x, y: x), "pairs"),
        (lambda: dataset().batch(2).batch(2), "rank 5"),
    ],
)
def test_own_tf_data_that_is_refused(make, match):
    with pytest.raises(ValueError, match=match):
        data.load(make())
    with pytest.raises(ValueError, match="augment=None"):
        data.load(make(), augment=lambda images, seeds: images)
