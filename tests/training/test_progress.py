"""Progress in a terminal and in a pipe, and TensorBoard's events, made without a long training."""

import itertools
import os
import pty
import re
import sys
import types

import keras
import numpy as np
import pytest

from convcraft import layers, training
from convcraft.training import common, runs
from convcraft.training.progress import Progress

SCORES = [0.5, 0.75, 0.625]
CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def show(earlier=(), key="val_accuracy", scores=SCORES, loss=1.5):
    """Three epochs of four steps that end with these scores."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.25), "mse")
    progress = Progress(types.SimpleNamespace(batch_size=8, start=0), 4, len(scores), earlier=earlier)
    progress.set_model(model)
    progress.on_train_begin()
    for epoch, score in enumerate(scores):
        progress.on_epoch_begin(epoch)
        for batch in range(4):
            progress.on_train_batch_end(batch, {"loss": 1.5})
            if progress.bar:
                progress.bar.refresh()
        progress.on_epoch_end(epoch, {"loss": loss, key: score})
    progress.on_train_end()


def test_a_pipe_gets_one_line_an_epoch(capsys):
    show()
    out = capsys.readouterr().out
    assert "\x1b" not in out and "\r" not in out
    lines = [line for line in out.splitlines() if line.startswith("epoch")]
    assert [line.split()[1] for line in lines] == ["1/3", "2/3", "3/3"]
    assert [line.endswith("best so far") for line in lines] == [True, True, False]
    assert all("rate 0.25" in line and "images/s" in line for line in lines)


def test_best_is_the_lowest_of_a_loss_and_knows_what_was_before(capsys):
    show(earlier=[{"epoch": 0, "val_loss": 0.6}, {"epoch": 1, "val_loss": 0.9}], key="val_loss", scores=[0.7, 0.5])
    assert [line.endswith("best so far") for line in capsys.readouterr().out.splitlines()] == [False, True]


def test_numbers_that_are_none_are_not_the_best(capsys):
    show(scores=[float("nan"), 0.1])
    assert [line.endswith("best so far") for line in capsys.readouterr().out.splitlines()] == [False, True]


def test_a_loss_that_is_none_is_no_best_epoch(capsys):
    show(scores=[0.1, 0.2], loss=float("nan"))
    assert "best so far" not in capsys.readouterr().out


def test_branches_are_announced(capsys):
    """Each of their choices compiles a step when it first comes: what the first steps take says nothing."""
    image = keras.Input((8, 8, 3))
    columns = [keras.layers.Conv2D(2, 1)(image) for _ in range(3)]
    x = layers.FreezeDropPath("square", seed=0)(columns)
    model = layers.Model(image, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(x)))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    feed = types.SimpleNamespace(batch_size=2, start=0)
    x, y = np.zeros((24, 8, 8, 3), "float32"), np.arange(24) % 2
    model.fit(x, y, batch_size=2, verbose=0, callbacks=[Progress(feed, 12, 1)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("The first epoch compiles up to 3 steps, one for each choice of branches")
    assert not any(line.startswith("About") for line in lines)


def test_compiling_counts_once(capsys, monkeypatch):
    """Ten seconds to the end of the first step, then a second each: two more epochs of four take eight seconds."""
    times = itertools.chain([0.0], itertools.count(10.0))
    monkeypatch.setattr("convcraft.training.progress.time.perf_counter", lambda: next(times))
    show()
    first = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch 1/3"))
    assert "8.0 s left" in first


def test_a_terminal_gets_a_bar_with_all_that_is_asked_for(monkeypatch):
    master, slave = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        assert sys.stdout.isatty()
        show()
        terminal.flush()
        found = b""
        while b"epoch 3/3  loss" not in found:  # the last line that is printed
            found += os.read(master, 65536)
    os.close(master)
    text = CODES.sub("", found.decode())
    bar = text[text.rindex("━") :]
    for wanted in ("loss 1.5000", "images/s", "rate 0.25", "left", "best", "0.7500", "(epoch 2)"):
        assert wanted in " ".join(bar.split()), wanted
    assert max(map(len, re.split(r"[\r\n]+", text))) <= 80


def test_tensorboard_that_is_not_there_is_said_before_training(monkeypatch):
    monkeypatch.setattr(common.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install tensorboard"):
        common.check(training.Common(tensorboard=True))


def test_tensorboard_gets_the_curves(tmp_path):
    pytest.importorskip("tensorboard", reason="the package tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    data = training.data.load((rng.integers(0, 255, (60, 4, 4, 1)).astype("uint8"), labels), batch_size=8)
    net = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    net.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), weighted_metrics=["accuracy"])
    run = runs.Run(tmp_path, training.Common(epochs=2, tensorboard=True), "r", "c")
    run.fit(net, data)
    written = {path.name for path in (tmp_path / "tensorboard").iterdir()}
    assert written == {"train", "validation"}
    events = EventAccumulator(str(tmp_path / "tensorboard" / "train"))
    events.Reload()
    assert {"epoch_loss", "epoch_accuracy"} <= set(events.Tags()["tensors"] + events.Tags()["scalars"])
