"""Downloads of weights: from a server on this machine, with files made by keras.applications here."""

import dataclasses
import hashlib
import http.server
import inspect
import pathlib
import re
import threading
import time

import h5py
import keras
import numpy as np
import pytest
from harness import draw, environment, numpy, python

from convcraft import zoo
from convcraft.zoo import Design, downloads


class Server:
    """Serves a folder on this machine; says what was asked for."""

    def __init__(self, folder):
        self.folder, self.asked, self.answer = folder, [], self.file
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append(self.path)
                outer.answer(self)

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def file(self, handler, missing=0):
        path = self.folder / handler.path.strip("/")
        if not path.is_file():
            return handler.send_error(404)
        content = path.read_bytes()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[: len(content) - missing])


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server, and an empty cache."""
    (tmp_path / "served").mkdir()
    server = Server(tmp_path / "served")
    monkeypatch.setenv("CONVCRAFT_WEIGHTS_URL", f"{server.url}/")
    monkeypatch.setenv("CONVCRAFT_HOME", str(tmp_path / "home"))
    yield server
    server.http.shutdown()
    server.http.server_close()


A = keras.applications
# ours: theirs, their preprocessing (None: in the model), size, the arguments for both
THEIRS = {
    "mobilenet_v1": (A.MobileNet, A.mobilenet, 64, 0.25),
    "mobilenet_v2": (A.MobileNetV2, A.mobilenet_v2, 64, 0.35),
    "mobilenet_v3_small": (A.MobileNetV3Small, A.mobilenet_v3, 64, 1.0),
    "mobilenet_v3_large": (A.MobileNetV3Large, A.mobilenet_v3, 64, 0.75),
    "inception_v3": (A.InceptionV3, A.inception_v3, 75, None),
    "resnet50_v1": (A.ResNet50, A.resnet, 64, None),
    "resnet50_v2": (A.ResNet50V2, A.resnet_v2, 64, None),
    "vgg16": (A.VGG16, A.vgg16, 32, None),
    "vgg19": (A.VGG19, A.vgg19, 32, None),
}


def images(size, number=4, seed=0):
    """Raw, of four kinds of brightness."""
    return (
        draw((number, size, size, 3), low=0, high=255, seed=seed)
        * np.float32([0.4, 0.6, 0.8, 1] * (number // 4))[:, None, None, None]
    )


def reference(name, randomize):
    """The net of keras.applications, made informative; statistics are those of a batch that went through."""
    build, module, size, width = THEIRS[name]
    options = {} if width is None else {"alpha": width}
    net = randomize(build(weights=None, input_shape=(size, size, 3), classifier_activation=None, **options))
    for layer in net.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    net(module.preprocess_input(images(size, 8, seed=3)), training=True)
    return net


def publish(name, net, server, monkeypatch):
    """As a file of the kind that is published, with its hash in the table where the real one's is."""
    (file,) = [each for each in downloads.PUBLISHED["imagenet"][name] if probed(name, each)]
    path = server.folder / file.file
    net.save(path.with_suffix(".whole.h5"))
    with h5py.File(path.with_suffix(".whole.h5")) as whole, h5py.File(path, "w") as target:
        for key, value in whole["model_weights"].attrs.items():
            target.attrs[key] = value
        for key in whole["model_weights"]:
            whole.copy(f"model_weights/{key}", target)
    if file.digest:
        digest = "md5:" + hashlib.md5(path.read_bytes()).hexdigest()
        monkeypatch.setitem(downloads.PUBLISHED["imagenet"], name, [dataclasses.replace(file, digest=digest)])
    return path


def probed(name, file):
    """Whether a file is for the width that is tested."""
    width = THEIRS[name][3]
    if file.probe is None:
        return True
    model = zoo.create(name, classes=2, input_shape=(64, 64, 3), design=Design(width=width))
    return model.get_layer(file.probe[0]).kernel.shape[-1] == file.probe[1]


SAMPLE = [name if name == "mobilenet_v1" else pytest.param(name, marks=pytest.mark.slow) for name in THEIRS]


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("name", SAMPLE)
def test_files_of_keras_applications_load_by_name(name, server, monkeypatch, randomize, capsys):
    theirs = reference(name, randomize)
    path = publish(name, theirs, server, monkeypatch)
    _, module, size, width = THEIRS[name]
    options = {"input_shape": (size, size, 3), "design": Design(width=width)}
    ours = zoo.create(name, weights="imagenet", **options)
    captured = capsys.readouterr()
    assert captured.out == "" and f"Downloading {path.name}" in captured.err
    assert server.asked == [f"/{path.name}"]
    expected = numpy(theirs(module.preprocess_input(images(size)), training=False))
    assert expected.std(0).max() > 1e-2 * np.abs(expected).max(), "the reference tells images apart"

    def difference():
        return np.abs(numpy(ours(images(size), training=False)) - expected).max() / np.abs(expected).max()

    print(f"{name} by name: largest relative difference {difference():.1e}")
    assert difference() < 1e-4
    for place in ("stem", [layer.name for layer in ours.layers if layer.weights][6]):
        kernel, *rest = ours.get_layer(place).get_weights()
        ours.get_layer(place).set_weights([np.roll(kernel, 1, axis=2), *rest] if kernel.ndim > 2 else [-kernel, *rest])
        assert difference() > 1e-3, place
        ours.get_layer(place).set_weights([kernel, *rest])
    # from the cache; the classifier of other classes is new, and said to be
    capsys.readouterr()
    few = zoo.create(name, classes=3, weights="imagenet", **options)
    captured = capsys.readouterr()
    assert "1 initialized anew.\n  initialized anew: head\n" in captured.out and "Downloading" not in captured.err
    assert len(server.asked) == 1
    np.testing.assert_array_equal(few.get_layer("stem").get_weights()[0], ours.get_layer("stem").get_weights()[0])
    body = zoo.create(name, weights="imagenet", head="none", **options)
    assert ("skipped" in capsys.readouterr().out) and body.output_shape != ours.output_shape


@pytest.mark.parametrize(
    "name", ["mobilenet_v1", *[pytest.param(n, marks=pytest.mark.slow) for n in THEIRS if "v3_" in n]]
)
def test_a_width_that_is_not_published(name, server):
    with pytest.raises(ValueError, match=f"{name}: there are no 'imagenet' weights of this width: .* published are"):
        zoo.create(name, weights="imagenet", design=Design(width=0.2))
    assert not server.asked


@pytest.mark.slow
@pytest.mark.parametrize("name", downloads.PUBLISHED["imagenet"])
def test_every_published_width_is_found(name):
    files = downloads.PUBLISHED["imagenet"][name]
    widths = {"mobilenet_v1": (1, 0.75, 0.5, 0.25), "mobilenet_v2": (1, 0.75, 0.5, 0.35, 1.3, 1.4)}
    widths = widths.get(name, (1, 0.75))[: len(files)]
    from convcraft.zoo.weights import _published

    assert len({file.file for file in files}) == len(files) == len(widths)
    if len(files) > 1:
        for width, file in zip(widths, files, strict=True):
            model = zoo.create(name, classes=2, input_shape=(32, 32, 3), design=Design(width=width))
            assert _published(model, name, "imagenet") is file


@pytest.mark.parametrize(
    "name, module",
    [
        *((f"resnet{n}_v1", A.resnet) for n in (50, 101, 152)),
        *((f"resnet{n}_v2", A.resnet) for n in (50, 101, 152)),
        ("vgg16", A.vgg16),
        ("vgg19", A.vgg19),
        ("inception_v3", A.inception_v3),
        ("mobilenet_v1", A.mobilenet),
        ("mobilenet_v2", A.mobilenet_v2),
        ("mobilenet_v3_small", A.mobilenet_v3),
        ("mobilenet_v3_large", A.mobilenet_v3),
    ],
)
def test_urls_and_hashes_are_those_in_keras(name, module):
    """Keras's own sources say what it downloads."""
    module = inspect.getmodule(module.preprocess_input)
    text = re.sub(r'"\s+"', "", inspect.getsource(module))
    for file in downloads.PUBLISHED["imagenet"][name]:
        folder, base = file.url.rpartition("/")[0] + "/", file.file
        assert folder in text
        if name.startswith("resnet"):
            key = base.partition("_")[0]
            assert file.digest == f"md5:{module.WEIGHTS_HASHES[key][0]}"
            assert '_weights_tf_dim_ordering_tf_kernels.h5"' in text
        elif "v3_" in name:
            key = base.removeprefix("weights_mobilenet_v3_").removesuffix(".h5")
            assert file.digest == f"md5:{module.WEIGHTS_HASHES[key][0]}"
        elif name.startswith("mobilenet"):
            assert file.digest is None and "file_hash" not in text
        else:
            assert file.url in text and re.search(rf'{base}".*?file_hash="{file.digest[4:]}"', text, re.S)


@pytest.mark.parametrize("name", SAMPLE)
def test_keras_asks_for_the_same_file(name, monkeypatch):
    """What keras.applications would download at this width."""
    asked = {}

    def stop(fname, origin, **options):
        asked.update(origin=origin, hash=options.get("file_hash"))
        raise InterruptedError

    build, _, size, width = THEIRS[name]
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", stop)
    with pytest.raises(InterruptedError):
        build(weights="imagenet", **({} if width is None else {"alpha": width}))
    (file,) = [each for each in downloads.PUBLISHED["imagenet"][name] if probed(name, each)]
    assert asked == {"origin": file.url, "hash": file.digest and file.digest.removeprefix("md5:")}


# below here no network is built: a file is a file
CONTENT = b"weights" * 1000
FILE = downloads.Published("https://example.org/some/net.h5", "md5:" + hashlib.md5(CONTENT).hexdigest())
UNHASHED = dataclasses.replace(FILE, digest=None)


@pytest.fixture
def served(server):
    """The server has `FILE`."""
    (server.folder / "net.h5").write_bytes(CONTENT)
    return server


def left(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


@pytest.mark.parametrize("kind", ["md5", "sha256"])
def test_a_file_is_downloaded_once(kind, served, tmp_path):
    file = dataclasses.replace(FILE, digest=f"{kind}:{hashlib.new(kind, CONTENT).hexdigest()}")
    path = downloads.fetch(file)
    assert path == tmp_path / "home" / "weights" / "net.h5" and path.read_bytes() == CONTENT
    assert downloads.fetch(file) == path and served.asked == ["/net.h5"]
    assert left(path.parent) == ["net.h5"]


def test_a_wrong_download_is_removed_and_named(served):
    (served.folder / "net.h5").write_bytes(b"another")
    with pytest.raises(ValueError, match=r"net.h5, from http://127.* is removed: its md5 was .*, expected"):
        downloads.fetch(FILE)
    assert left(downloads.home()) == []
    (served.folder / "net.h5").write_bytes(CONTENT)
    assert downloads.fetch(FILE).read_bytes() == CONTENT


def test_a_file_that_was_damaged_later_is_removed_and_named(served):
    path = downloads.fetch(FILE)
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(ValueError, match="net.h5.* is removed"):
        downloads.fetch(FILE)
    assert not path.exists() and downloads.fetch(FILE) == path


def test_the_first_hash_is_kept_where_none_is_published(served):
    path = downloads.fetch(UNHASHED)
    record = path.with_name("net.h5.sha256")
    assert record.read_text().strip() == "sha256:" + hashlib.sha256(CONTENT).hexdigest()
    assert downloads.fetch(UNHASHED) == path
    path.unlink()
    (served.folder / "net.h5").write_bytes(b"another")  # the server's file has changed since
    with pytest.raises(ValueError, match="net.h5.* is removed: its sha256 was"):
        downloads.fetch(UNHASHED)
    record.write_text("nonsense")
    (downloads.home() / "net.h5").write_bytes(CONTENT)
    with pytest.raises(ValueError, match="Expected a hash in .*net.h5.sha256"):
        downloads.fetch(UNHASHED)


def test_a_file_put_there_by_hand_needs_no_network(server):
    downloads.home().mkdir(parents=True)
    (downloads.home() / "net.h5").write_bytes(CONTENT)
    assert downloads.fetch(FILE).name == "net.h5" and not server.asked


def test_a_download_that_is_cut_short_leaves_nothing(served):
    served.answer = lambda handler: served.file(handler, missing=100)
    with pytest.raises(OSError, match="cannot be downloaded"):
        downloads.fetch(FILE)
    assert left(downloads.home()) == []


def test_what_the_server_does_not_have(server):
    with pytest.raises(OSError, match=r"/net.h5 cannot be downloaded \(the server says 404\)"):
        downloads.fetch(FILE)


def test_offline_says_in_one_sentence_what_to_do(server, monkeypatch, tmp_path):
    server.http.shutdown()
    server.http.server_close()
    with pytest.raises(OSError) as caught:
        zoo.create("mobilenet_v1", weights="imagenet", design=Design(width=0.25))
    path = tmp_path / "home" / "weights" / "mobilenet_2_5_224_tf.h5"
    assert re.fullmatch(
        rf"mobilenet_v1: {server.url}/mobilenet_2_5_224_tf.h5 cannot be downloaded \(no connection, \w+\): download it "
        rf"elsewhere and put it at {path}\.",
        str(caught.value),
    )


@pytest.mark.parametrize(
    "url", ["http://example.org", "ftp://127.0.0.1", "file:///tmp", "http://127.0.0.1.example.org"]
)
def test_https_only(url, monkeypatch, tmp_path):
    monkeypatch.setenv("CONVCRAFT_WEIGHTS_URL", url)
    monkeypatch.setenv("CONVCRAFT_HOME", str(tmp_path))
    with pytest.raises(ValueError, match="https only; received"):
        downloads.fetch(FILE)


def test_https_only_after_redirection(served):
    def elsewhere(handler):
        handler.send_response(302)
        handler.send_header("Location", f"http://127.0.0.2:{served.http.server_port}/net.h5")
        handler.end_headers()

    served.answer = elsewhere
    with pytest.raises(ValueError, match="https only; received 'http://127.0.0.2"):
        downloads.fetch(FILE)
    assert left(downloads.home()) == []


def test_every_url_is_encrypted():
    files = [file for models in downloads.PUBLISHED.values() for each in models.values() for file in each]
    assert len(files) >= 20 and all(file.url.startswith("https://") for file in files)


def test_two_processes_at_once_download_once(served, tmp_path):
    """The second waits for the first, and finds its file whole."""
    code = (
        "from convcraft.zoo import downloads\n"
        "import sys, hashlib\n"
        "assert 'keras' not in sys.modules\n"
        "path = downloads.fetch(downloads.Published('https://example.org/net.h5', sys.argv[1]))\n"
        "print(hashlib.md5(path.read_bytes()).hexdigest())"
    )

    def slowly(handler):
        time.sleep(2)
        served.file(handler)

    served.answer, found = slowly, []
    env = {key: value for key, value in environment().items() if key.startswith("CONVCRAFT")}
    threads = [threading.Thread(target=lambda: found.append(python(code, FILE.digest, **env))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [text.strip() for text in found] == [FILE.digest[4:]] * 2
    assert served.asked == ["/net.h5"] and left(downloads.home()) == ["net.h5"]


def test_the_cache_is_the_users(monkeypatch):
    monkeypatch.delenv("CONVCRAFT_HOME", raising=False)
    assert "convcraft" in str(downloads.home()) and downloads.home().is_relative_to(pathlib.Path.home())
    monkeypatch.setenv("CONVCRAFT_HOME", "~/elsewhere")
    assert downloads.home() == pathlib.Path.home() / "elsewhere" / "weights"


def test_squeezenet_from_ncnn(server, randomize):
    """The published file has half precision: tag, kernels, biases for each convolution; it reads BGR."""
    expected = randomize(zoo.create("squeezenet1_1"))
    content = b""
    for layer in expected.layers:
        if layer.weights:
            kernel, bias = layer.get_weights()
            kernel = kernel.astype("float16")
            layer.set_weights([kernel.astype("float32"), bias])
            kernel = kernel[:, :, ::-1] if layer.name == "stem" else kernel
            content += bytes.fromhex("476b3001") + kernel.transpose(3, 2, 0, 1).tobytes() + bias.tobytes()
    (server.folder / "squeezenet_v1.1.bin").write_bytes(content)
    found = zoo.create("squeezenet1_1", weights="imagenet")
    for one, other in zip(expected.get_weights(), found.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    other = zoo.create("squeezenet1_1", classes=3, weights="imagenet")
    np.testing.assert_array_equal(
        other.get_layer("fire9_squeeze").get_weights()[1], found.get_layer("fire9_squeeze").bias
    )
    (downloads.home() / "short.bin").write_bytes(content[:-4])
    with pytest.raises(ValueError, match="short.bin' is no whole .bin file"):
        zoo.load_weights(found, downloads.home() / "short.bin")
