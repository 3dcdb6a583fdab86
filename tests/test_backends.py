"""The same tests on the other backends, each in one process of its own."""

import os
import pathlib
import subprocess
import sys

import keras
import pytest
from harness import environment

TESTS = pathlib.Path(__file__).parent
# compiling each of the zoo's knobs on JAX takes minutes: here each layer's contract, of each family one step of
# training, real weights on real images, and fine-tuning
CHOSEN = (
    "test_contract or same_bits or murmur or tensorflow_addons or published_vectors or is_the_formula "
    "or lowers_the_loss or recognizes or TestFreezing"
)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="started by the TensorFlow run")
@pytest.mark.parametrize("backend", ["jax", pytest.param("torch", marks=pytest.mark.torch)])
def test_layers_zoo_and_fine_tuning(backend):
    """Layers, zoo and fine-tuning on JAX (always) and PyTorch (`make test-all`)."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--rootdir", str(TESTS.parent)]
    command += ["-c", str(TESTS.parent / "setup.cfg"), str(TESTS / "layers"), str(TESTS / "zoo")]
    command += [str(TESTS / "training" / "tuning" / "test_fine_tune.py"), "-k", CHOSEN]
    # no sys.path of this process: it holds what pytest has put there
    env = environment(KERAS_BACKEND=backend, PYTHONPATH=os.environ.get("PYTHONPATH", ""))
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=os.getcwd())
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout, "some tests ran"
