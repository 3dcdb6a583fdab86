"""The same tests on the other backends, each in one process of its own."""

import os
import pathlib
import subprocess
import sys

import keras
import pytest
from harness import environment

TESTS = pathlib.Path(__file__).parent
# compiling each of the zoo's knobs on JAX takes minutes: here each layer's contract and formula, of each family a step
# of training, real weights on real images, and fine-tuning
CHOSEN = (
    "test_contract or same_bits or murmur or tensorflow_addons or published_vectors or is_the_formula "
    "or lowers_the_loss or recognizes or TestFreezing"
)
QUICK = f"({CHOSEN}) and not (zoo and is_the_formula)"  # what the zoo's networks are made of is tested by itself


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="started by the TensorFlow run")
@pytest.mark.parametrize(
    "backend, chosen",
    [
        pytest.param("jax", QUICK, id="jax"),
        pytest.param("jax", CHOSEN, id="jax-whole", marks=pytest.mark.slow),
        pytest.param("torch", CHOSEN, id="torch", marks=pytest.mark.torch),
    ],
)
def test_layers_zoo_and_fine_tuning(backend, chosen):
    """Layers, zoo and fine-tuning on JAX (always) and PyTorch (`make test-all`)."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--rootdir", str(TESTS.parent)]
    command += ["-c", str(TESTS.parent / "setup.cfg"), str(TESTS / "layers"), str(TESTS / "zoo")]
    command += [str(TESTS / "training" / "tuning" / "test_fine_tune.py"), "-k", chosen]
    # no sys.path of this process: it holds what pytest has put there
    env = environment(KERAS_BACKEND=backend, PYTHONPATH=os.environ.get("PYTHONPATH", ""))
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=os.getcwd())
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout, "some tests ran"
