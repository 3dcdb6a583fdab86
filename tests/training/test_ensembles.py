"""Several models as one, and the weights that a training passes by."""

import json

import keras
import numpy as np
import pytest
from harness import draw, numpy, python
from scipy.special import logsumexp, softmax

import convcraft
from convcraft import layers, zoo
from convcraft.training import Ensemble, Snapshots, run


def net(seed=0, names=("ant", "bee", "cow"), side=6):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((side, side, 1))
    x = keras.layers.Dense(len(names))(keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs)))
    return layers.Model(inputs, layers.ClassNames(names)(x), name="net")


IMAGES = draw((5, 6, 6, 1), "float32", 0, 255)


@pytest.mark.parametrize("mirrors", [False, True])
def test_probabilities_are_the_mean_of_the_members(mirrors):
    members = [net(0), net(1)]
    seen = [IMAGES, IMAGES[:, :, ::-1]] if mirrors else [IMAGES]
    expected = np.mean([softmax(numpy(m(x)), axis=1) for m in members for x in seen], axis=0)
    logits = numpy(Ensemble(members, mirrors=mirrors)(IMAGES))
    np.testing.assert_allclose(softmax(logits, axis=1), expected, rtol=1e-5)
    np.testing.assert_allclose(logsumexp(logits, axis=1), 0, atol=1e-5)  # the logarithm of probabilities


def test_one_member_and_its_mirror():
    logits = numpy(Ensemble([net()])(IMAGES))
    np.testing.assert_allclose(softmax(logits, axis=1), softmax(numpy(net()(IMAGES)), axis=1), rtol=1e-5)


def test_it_is_saved_as_one_model_with_the_cost_of_all(tmp_path):
    both = Ensemble([net(0), net(1)], mirrors=True)
    both.save(tmp_path / "m.keras")
    again = convcraft.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(numpy(again(IMAGES)), numpy(both(IMAGES)), rtol=1e-6)
    assert zoo.class_names(again) == ["ant", "bee", "cow"]
    spent = zoo.cost(both)
    assert spent.parameters == 2 * (36 * 3 + 3) and spent.multiply_adds == 4 * 36 * 3


@pytest.mark.parametrize(
    "members, message",
    [
        ([], "received an empty one"),
        ([net(), net(names=("ant", "bee"))], "one output_shape"),
        ([net(), net(side=8)], "one input_shape"),
        ([net(), net(names=("bee", "ant", "cow"))], "the same classes"),
    ],
)
def test_members_that_do_not_fit(members, message):
    with pytest.raises(ValueError, match=message):
        Ensemble(members)


def test_snapshots_are_the_weights_at_the_ends_of_the_cycles():
    keeper, seen = Snapshots(epochs=5, cycles=2), {}

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen[epoch + 1] = self.model.get_weights()

    model = net()
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    model.fit(IMAGES, np.arange(5) % 3, epochs=5, verbose=0, callbacks=[keeper, Watch()])
    assert keeper.ends == [2, 5]
    for snapshot, epoch in zip(keeper.models(model), (2, 5), strict=True):
        for ours, theirs in zip(snapshot.get_weights(), seen[epoch], strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert not np.array_equal(seen[2][0], seen[5][0])


@pytest.mark.parametrize("cycles", [0, 6])
def test_as_many_cycles_as_epochs_at_most(cycles):
    with pytest.raises(ValueError, match=f"from 1 to 5 cycles in 5 epochs, received {cycles}"):
        Snapshots(5, cycles)


RECIPE = '''
"""Two members, and what is left of them when the second is killed."""
import os, signal
from dataclasses import dataclass
import keras, numpy as np
from convcraft import layers, training

@dataclass
class Config(training.Common):
    epochs: int = 2
    strategy: str = "none"

def data(config):
    pictures = np.random.default_rng(0).integers(0, 256, (60, 6, 6, 1)).astype("uint8")
    return training.data.load((pictures, np.arange(60) % 3), batch_size=16, seed=config.seed)

class Die(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1 and os.environ.get("DIE"):
            os.kill(os.getpid(), signal.SIGKILL)

def train(config, run):
    images, members = data(config), []
    for number in range(2):
        part = run.part("second") if number else run
        keras.utils.set_random_seed(number)
        inputs = keras.Input((6, 6, 1))
        x = keras.layers.Dense(3)(keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs)))
        net = layers.Model(inputs, layers.ClassNames(images.class_names)(x))
        net.compile(training.optimizer(config, part.steps(images)), training.loss(config), jit_compile=False)
        members.append(part.fit(net, images, callbacks=[Die()] if number else []))
    return run.save(training.Ensemble(members))
'''


@pytest.mark.slow
def test_a_run_of_two_models_resumes_in_the_second(tmp_path):
    (tmp_path / "pair.py").write_text(RECIPE)
    whole = run(tmp_path / "pair.py", {}, tmp_path / "whole")
    code = "import sys; from convcraft.training import run; run(sys.argv[1], {}, sys.argv[2])"
    killed = python(code, tmp_path / "pair.py", tmp_path / "run", check=False, DIE="1")
    assert killed.returncode == -9
    python(code, tmp_path / "pair.py", tmp_path / "run")
    weights = [convcraft.load_model(tmp_path / name / "model.keras").get_weights() for name in ("whole", "run")]
    assert len(weights[0]) == 4
    assert all(np.array_equal(a, b) for a, b in zip(*weights, strict=True))
    assert whole.metrics["parameters"] == 2 * (36 * 3 + 3)
    starts = (tmp_path / "run" / "second" / "history.jsonl").read_text().splitlines()
    assert sum(json.loads(line)["event"] == "start" for line in starts) == 2
