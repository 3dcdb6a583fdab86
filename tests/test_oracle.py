"""Our layers against tensorflow-addons, live, on inputs that neither has seen (`make oracle` installs it)."""

import os
import pathlib
import subprocess

import numpy as np
import pytest
from harness import draw, numpy
from scipy.stats import ks_2samp

from convcraft.layers import CyclicalLR, Maxout, RReLU

ROOT = pathlib.Path(__file__).parents[1]
PYTHON = pathlib.Path(os.environ.get("CONVCRAFT_ORACLE", ROOT / ".venv-oracle" / "bin" / "python"))


STEPS = np.unique(np.random.default_rng(0).integers(0, 2000, 200))


@pytest.fixture(scope="module")
def oracle(tmp_path_factory):
    """(inputs, tensorflow-addons' outputs)."""
    if not PYTHON.exists():
        pytest.skip(f"needs tensorflow-addons in an environment of its own, {PYTHON}: run `make oracle`")
    folder = tmp_path_factory.mktemp("oracle")
    shapes = {"row": (1, 4), "batch": (7, 10), "image": (2, 5, 3, 6), "wide": (3, 2, 2, 64)}
    inputs = {name: draw(shape, seed=n) for n, (name, shape) in enumerate(shapes.items())}
    np.savez(folder / "in.npz", steps=STEPS, **inputs)
    command = [str(PYTHON), str(ROOT / "tests" / "oracle" / "live.py"), str(folder / "in.npz"), str(folder / "out.npz")]
    clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "KERAS_BACKEND")}
    subprocess.run(command, check=True, env=clean, capture_output=True)
    with np.load(folder / "out.npz") as file:
        return inputs, {name: file[name] for name in file.files}


@pytest.mark.oracle
@pytest.mark.parametrize("name, layer", [("maxout2", lambda: Maxout(2)), ("rrelu", RReLU)])
def test_inference(oracle, name, layer):
    inputs, outputs = oracle
    for key, x in inputs.items():
        np.testing.assert_allclose(numpy(layer()(x)), outputs[f"{name}/{key}"], rtol=1e-6, err_msg=key)


@pytest.mark.oracle
def test_rrelu_draws_the_same_distribution(oracle):
    slopes = -numpy(RReLU(seed=0)(-np.ones(100_000, "float32"), training=True))
    assert ks_2samp(slopes, oracle[1]["slopes"]).pvalue > 1e-3


@pytest.mark.oracle
@pytest.mark.parametrize("mode", ["triangular", "triangular2", "exp_range"])
def test_cyclical_schedules(oracle, mode):
    ours = CyclicalLR(0.01, 0.3, 37, mode, **({"gamma": 0.999} if mode == "exp_range" else {}))
    # theirs counts in float32, where a cycle's phase is a small difference of larger numbers
    np.testing.assert_allclose(numpy(ours(STEPS)), oracle[1][f"rates/{mode}"][0], rtol=1e-4)
