"""Sets of TensorFlow Datasets: with a stand-in for the package, which convcraft does not install, and with itself."""

import dataclasses
import io
import sys
import types

import numpy as np
import pytest
from PIL import Image

from convcraft import training
from convcraft.training import common, data


def jpeg(value, height, width):
    file = io.BytesIO()
    Image.fromarray(np.full((height, width, 3), value, "uint8")).save(file, "png")
    return file.getvalue()


class Records(list):
    """As `array_record`'s: records by number, several at once."""

    def __getitems__(self, rows):
        return [self[row] for row in rows]


@pytest.fixture
def package(monkeypatch):
    """A stand-in with one set, whose test images have no labels, as ImageNet's."""

    class Picture:
        shape = (None, None, 3)

    splits = {
        "train": Records({"image": jpeg(10 * i, 30 + i, 40), "label": i % 2} for i in range(20)),
        "validation": Records({"image": jpeg(200 + i, 30, 50 + i), "label": i % 2} for i in range(4)),
        "test": Records({"image": jpeg(0, 30, 30), "label": -1} for _ in range(3)),
    }
    label = types.SimpleNamespace(names=["cat", "dog"])
    info = types.SimpleNamespace(
        supervised_keys=("image", "label"),
        features={"image": Picture(), "label": label},
        splits=splits,
        full_name="pets/1.0.0",
        file_format=types.SimpleNamespace(value="array_record"),
    )
    path = types.SimpleNamespace(exists=lambda: True)
    made = types.SimpleNamespace(
        info=info, data_path=path, as_data_source=lambda split, decoders: splits[split], splits=splits
    )

    def builder(name, **options):
        if name != "pets":
            raise ValueError(f"Dataset {name} not found.\nAvailable datasets: …")
        return made

    module = types.ModuleType("tensorflow_datasets")
    module.builder = builder
    module.features = types.SimpleNamespace(Image=Picture)
    module.decode = types.SimpleNamespace(SkipDecoding=object)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", module)
    return made


def test_splits_labels_and_pixels(package):
    found = data.load("tfds:pets", size=24, batch_size=5, validation=0.2)
    assert found.class_names == ["cat", "dog"] and found.image_shape == (24, 24, 3)
    assert {split: sum(counts.values()) for split, counts in found.counts.items()} == {"train": 16, "val": 4, "test": 4}
    images, labels = found.arrays("test")  # the set's validation images; its test images have no labels
    np.testing.assert_allclose(images, np.float32([200, 201, 202, 203]).reshape(4, 1, 1, 1) * np.ones((1, 24, 24, 3)))
    assert labels.tolist() == [0, 1, 0, 1]
    images, labels = found.arrays("train")
    assert ((images[:, 0, 0, 0] / 10).round() % 2 == labels).all(), "labels stay with their images"
    assert "'test' left out" in str(found.report) and "pets/1.0.0" in str(found.report)


def test_order_and_augmentation_are_ours(package):
    one, two = (data.load("tfds:pets", size=8, batch_size=5, seed=3, augment="light") for _ in range(2))
    for (x, y), (xx, yy) in zip(one.feed("train").numpy(1), two.feed("train").numpy(1), strict=True):
        np.testing.assert_array_equal(x, xx)
        assert y.tolist() == yy.tolist()
    package.splits["train"][0]["label"] = 1
    assert data.load("tfds:pets", size=8).sha256 != one.sha256


def test_what_is_refused(package, monkeypatch):
    with pytest.raises(ValueError, match="Pass size="):
        data.load("tfds:pets")
    with pytest.raises(ValueError, match="received 'nonsense': .*Dataset nonsense not found") as error:
        data.load("tfds:nonsense", size=8)
    assert "Available" not in str(error.value)
    package.info.file_format.value = "tfrecord"
    with pytest.raises(ValueError, match=r"received tfrecord .*array_record.*TFDS_DATA_DIR"):
        data.load("tfds:pets", size=8)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ValueError, match="`pip install tensorflow-datasets array-record`"):
        data.load("tfds:pets", size=8)


def test_a_recipe_takes_the_set_where_it_is_prepared(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    wanted = training.Common(data="tfds:pets or digits")
    assert common.resolve(wanted).data == "digits"
    (tmp_path / "pets").mkdir()
    assert common.resolve(wanted).data == "tfds:pets"
    assert common.resolve(dataclasses.replace(wanted, data="tfds:other")).data == "tfds:other"
    assert not training.can_mirror("tfds:mnist") and training.can_mirror("tfds:imagenet2012")


def test_with_the_package_itself(tmp_path, monkeypatch):
    """Written by TensorFlow Datasets, read by us."""
    tfds = pytest.importorskip("tensorflow_datasets")
    pytest.importorskip("array_record")

    class Pets(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = tfds.features
            parts = {"image": features.Image(), "label": features.ClassLabel(names=["cat", "dog"])}
            return tfds.core.DatasetInfo(
                builder=self, features=features.FeaturesDict(parts), supervised_keys=("image", "label")
            )

        def _split_generators(self, manager):
            return {"train": self._images(20), "validation": self._images(6)}

        def _images(self, count):
            for i in range(count):
                yield i, {"image": np.full((30 + i, 40, 3), 10 * i, "uint8"), "label": i % 2}

        def _generate_examples(self):
            yield

    Pets(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    monkeypatch.setattr(
        tfds, "builder", lambda name, **o: tfds.core.read_only_builder.builder_from_files(name, data_dir=tmp_path)
    )
    found = data.load("tfds:pets", size=24)
    images, labels = found.arrays("test")
    assert sorted((images[:, 0, 0, 0] / 10).round()) == list(range(6))
    assert ((images[:, 0, 0, 0] / 10).round() % 2 == labels).all()
