"""Weights that others have published: where the files are, their hashes, and their way to this machine.

Readable without Keras: the command line lists from here which models have weights.
"""

import contextlib
import hashlib
import os
import pathlib
import re
import urllib.parse
from dataclasses import dataclass
from typing import Any

from . import shipped

GOOGLE = "https://storage.googleapis.com/tensorflow/keras-applications/"
KERNELS = "_weights_tf_dim_ordering_tf_kernels.h5"
# the only commit of its repository that changed this file
NCNN = "https://raw.githubusercontent.com/nihui/ncnn-assets/a4f6ff5198316e4096d4a4955b58fc6a23c8f3bd/models/"


@dataclass(frozen=True)
class Published:
    """A file of weights.

    Attributes:
        url: of the file.
        digest: "md5:…" as its publisher has it; None where there is none: then the first download's is kept.
        bgr: whether the network was trained on blue, green, red.
        probe: None, or (layer, channels) that tell this file's width from those of its family.
    """

    url: str
    digest: str | None = None
    bgr: bool = False
    probe: tuple[str, int] | None = None

    @property
    def file(self) -> str:
        """Its name without the folder."""
        return self.url.rpartition("/")[2]


def _keras(path, md5=None, **options):
    return Published(GOOGLE + path, md5 and f"md5:{md5}", **options)


def _resnet(name, md5):
    return [_keras(f"resnet/{name}{KERNELS}", md5, bgr=not name.endswith("v2"))]


def _mobilenet_v3(kind, width, layer, channels, md5):
    return _keras(f"mobilenet_v3/weights_mobilenet_v3_{kind}_224_{width}_float.h5", md5, probe=(layer, channels))


# weights' name, model: files, one for each published width. URLs and digests are those in Keras's sources.
PUBLISHED: dict[str, dict[str, list[Published]]] = {
    "imagenet": {
        "vgg16": [_keras(f"vgg16/vgg16{KERNELS}", "64373286793e3c8b2b4e3219cbf3544b", bgr=True)],
        "vgg19": [_keras(f"vgg19/vgg19{KERNELS}", "cbe5617147190e668d6c5d5026f83318", bgr=True)],
        "resnet50_v1": _resnet("resnet50", "2cb95161c43110f7111970584f804107"),
        "resnet101_v1": _resnet("resnet101", "f1aeb4b969a6efcfb50fad2f0c20cfc5"),
        "resnet152_v1": _resnet("resnet152", "100835be76be38e30d865e96f2aaae62"),
        "resnet50_v2": _resnet("resnet50v2", "3ef43a0b657b3be2300d5770ece849e0"),
        "resnet101_v2": _resnet("resnet101v2", "6343647c601c52e1368623803854d971"),
        "resnet152_v2": _resnet("resnet152v2", "a49b44d1979771252814e80f8ec446f9"),
        "inception_v3": [_keras(f"inception_v3/inception_v3{KERNELS}", "9a0d58056eeedaa3f26cb7ebd46da564")],
        "mobilenet_v1": [
            _keras(f"mobilenet/mobilenet_{width}_224_tf.h5", probe=("block13", channels))
            for width, channels in (("1_0", 1024), ("7_5", 768), ("5_0", 512), ("2_5", 256))
        ],
        "mobilenet_v2": [
            _keras(f"mobilenet_v2/mobilenet_v2{KERNELS[:-3]}_{width}_224.h5", probe=("block17_project", channels))
            for width, channels in ((1.0, 320), (0.75, 240), (0.5, 160), (0.35, 112), (1.3, 416), (1.4, 448))
        ],
        "mobilenet_v3_small": [
            _mobilenet_v3("small", 1.0, "last", 576, "8768d4c2e7dee89b9d02b2d03d65d862"),
            _mobilenet_v3("small", 0.75, "last", 432, "cb65d4e5be93758266aa0a7f2c6708b7"),
        ],
        "mobilenet_v3_large": [
            _mobilenet_v3("large", 1.0, "last", 960, "59e551e166be033d707958cf9e29a6a7"),
            _mobilenet_v3("large", 0.75, "last", 720, "765b44a33ad4005b3ac83185abf1d0eb"),
        ],
        "squeezenet1_1": [Published(f"{NCNN}squeezenet_v1.1.bin", bgr=True)],
    }
}
ELSEWHERE = {f"resnet{n}": f"use resnet{n}_v1, or convert PyTorch's: `convcraft convert`" for n in (50, 101, 152)}


def names_of(model: str) -> tuple[str, ...]:
    """The names of the weights that there are for a model: published by others, or part of the package."""
    return (*(name for name, models in PUBLISHED.items() if model in models), *shipped.names_of(model))


def listing() -> dict[str, list[str]]:
    """The models that each name of weights stands for."""
    found = {name: list(models) for name, models in PUBLISHED.items()}
    for card in shipped.cards():
        models = found.setdefault(card["weights"], [])
        models += [card["model"]] * (card["model"] not in models)
    return found


def home() -> pathlib.Path:
    """The folder of what is downloaded: `$CONVCRAFT_HOME`, else the user's cache."""
    import pooch

    return pathlib.Path(os.environ.get("CONVCRAFT_HOME") or pooch.os_cache("convcraft")).expanduser() / "weights"


def fetch(published: Published) -> pathlib.Path:
    """The path of a published file, downloaded unless it is there; checked either way.

    `CONVCRAFT_WEIGHTS_URL` names another folder that has files of the same names: a mirror. A file with the wrong
    hash is removed.

    Raises:
        ValueError: for a URL without encryption, or a file that is not the published one.
        OSError: where it can be neither found nor downloaded.
    """
    import filelock

    path, mirror = home() / published.file, os.environ.get("CONVCRAFT_WEIGHTS_URL")
    url = f"{mirror.rstrip('/')}/{published.file}" if mirror else published.url
    _check_url(url)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(f"{path}.lock"):  # a second process waits, and finds the file
            if not path.exists():
                _download(url, path)
            _check_file(path, published, url)
    except PermissionError as error:
        raise OSError(f"Cannot write to {path.parent}: set CONVCRAFT_HOME to a folder of yours.") from error
    return path


def _check_url(url):
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")):
        return
    raise ValueError(f"Weights are downloaded by https only; received {url!r}.")


def _download(url, path):
    """Into a temporary file beside `path`, then renamed."""
    import pooch
    import requests

    progress = _Progress(path.name)

    def refuse_detours(answer, **_):  # before they are followed
        if answer.is_redirect:
            _check_url(urllib.parse.urljoin(answer.url, answer.headers["location"]))

    partial = path.with_name(f"{path.name}.part")
    try:
        with contextlib.closing(progress):
            pooch.HTTPDownloader(progressbar=progress, timeout=30, hooks={"response": refuse_detours})(
                url, str(partial), None
            )
        os.replace(partial, path)
    except (requests.RequestException, ConnectionError) as error:
        raise OSError(
            f"{url} cannot be downloaded ({_reason(error)}): download it elsewhere and put it at {path}."
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def _reason(error):
    status = getattr(getattr(error, "response", None), "status_code", None)
    return f"the server says {status}" if status else f"no connection, {type(error).__name__}"


def _check_file(path, published, url):
    """Raises for a wrong file, and removes it."""
    record = path.with_name(f"{path.name}.sha256")
    wanted = published.digest
    if wanted is None:
        if not record.exists():
            record.write_text(f"sha256:{_digest(path, 'sha256')}\n", encoding="utf-8")
            return
        wanted = record.read_text(encoding="utf-8").strip()
    kind, _, expected = wanted.partition(":")
    if not re.fullmatch("[0-9a-f]+", expected) or kind not in ("md5", "sha256"):
        raise ValueError(f"Expected a hash in {record}; received {wanted!r}. Remove it, and {path}.")
    if (found := _digest(path, kind)) != expected:
        path.unlink()
        raise ValueError(
            f"{path}, from {url}, was not the published file, and is removed: its {kind} was {found}, expected "
            f"{expected}. The same again downloads it anew."
        )


def _digest(path, kind):
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()


class _Progress:
    """What pooch wants of a progress bar, shown by rich on stderr."""

    def __init__(self, name):
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

        columns = ("{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        self.bar: Any = Progress(*columns, console=Console(stderr=True))
        self.task = self.bar.add_task(f"Downloading {name}", total=None)
        self.total: float = 0.0
        self.bar.start()

    def update(self, count):
        """`count` more bytes are here."""
        self.bar.update(self.task, total=self.total or None, advance=count)

    def reset(self):
        """Starts over; pooch ends so, and fills the bar by an update."""
        self.bar.update(self.task, completed=0)

    def close(self):
        """Ends the bar."""
        self.bar.stop()
