"""The names of ImageNet's 1000 classes, which weights trained on it do not carry."""

import json
from collections import Counter

from convcraft.zoo.downloads import Published, fetch

# the file and the hash of keras.applications' decode_predictions
INDEX = Published(
    "https://storage.googleapis.com/download.tensorflow.org/data/imagenet_class_index.json",
    "md5:c2c37ea517e94d9795004a39431a14cb",
)


def imagenet_names() -> list[str]:
    """The names in the order of the outputs of every network with ImageNet's published weights.

    They come from the file that keras.applications uses: downloaded once, hash-checked, kept beside the weights, and
    taken from the same mirror. Two names stand for two classes each (crane, maillot): those bear WordNet's number.

    Raises:
        OSError: where it can be neither found nor downloaded.
    """
    path = fetch(INDEX)
    index = json.loads(path.read_text(encoding="utf-8"))
    rows = [index[str(number)] for number in range(len(index))]
    count = Counter(name for _, name in rows)
    return [(name if count[name] == 1 else f"{name}_({synset})").replace("_", " ") for synset, name in rows]
