"""`make oracle`: what tensorflow-addons gives, live, against the vectors that our tests keep.

Runs in an environment of its own (requirements-oracle.txt), where Keras 3 and convcraft cannot be. Exits with status 1
if a kept vector is not what tensorflow-addons computes. `live.py IN.npz OUT.npz` applies it to other inputs:
tests/test_oracle.py compares our layers with that.
"""

import os
import sys
import warnings

warnings.filterwarnings("ignore")
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
import tensorflow_addons as tfa  # noqa: E402

SCHEDULES = {
    "triangular": lambda low, high, size, gamma: tfa.optimizers.TriangularCyclicalLearningRate(low, high, size),
    "triangular2": lambda low, high, size, gamma: tfa.optimizers.Triangular2CyclicalLearningRate(low, high, size),
    "exp_range": lambda low, high, size, gamma: tfa.optimizers.ExponentialCyclicalLearningRate(
        low, high, size, gamma=gamma
    ),
}
STEPS = [0, 1000, 2000, 3000, 4000, 6000, 8000, 10000]


def rates(mode, steps, *arguments):
    """The schedule at each step, as a row; arguments as floats, since a step becomes their dtype."""
    schedule = SCHEDULES[mode](*(float(argument) for argument in arguments))
    return np.array([[float(schedule(float(step))) for step in steps]])


KEPT = {  # as in tests/layers/test_maxout.py, test_rrelu.py and test_schedules.py
    "Maxout(2)": (lambda x: tfa.layers.Maxout(2)(x), [[4.0, 5.0]]),
    "Maxout(3)": (lambda x: tfa.layers.Maxout(3)(x), [[3.0, 4.0, 5.0]]),
    "Maxout(1)": (lambda x: tfa.layers.Maxout(1)(x), [[5.0]]),
    "Maxout(6)": (lambda x: tfa.layers.Maxout(6)(x), [[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]]),
    "rrelu(-1)": (lambda x: tfa.activations.rrelu(x * 0 - 1, training=False)[:, :1], [[-0.22916667]]),
    "triangular": (
        lambda x: rates("triangular", STEPS, 0.001, 0.006, 2000, 1),
        [[0.001, 0.0035, 0.006, 0.0035, 0.001, 0.006, 0.001, 0.006]],
    ),
    "triangular2": (
        lambda x: rates("triangular2", STEPS, 0.001, 0.006, 2000, 1),
        [[0.001, 0.0035, 0.006, 0.0035, 0.001, 0.0035, 0.001, 0.00225]],
    ),
    "exp_range": (
        lambda x: rates("exp_range", STEPS, 0.001, 0.006, 2000, 0.99994),
        [[0.001, 0.0033544074, 0.0054345862, 0.0030881641, 0.001, 0.0044883438, 0.001, 0.003744009]],
    ),
}


def kept():
    """Compares each kept vector; returns how many differ."""
    row, failed = np.arange(6, dtype="float32")[None], 0
    for name, (function, vector) in KEPT.items():
        live = np.asarray(function(row))
        same = np.allclose(live, vector, rtol=0, atol=1e-8)
        failed += not same
        print(f"{'ok  ' if same else 'BAD '} {name}: {live.ravel().tolist()}")
    print(f"tensorflow-addons {tfa.__version__}: {len(KEPT) - failed} passed, {failed} failed")
    return failed


def other(source, target):
    """Maxout and RReLU of the arrays in `source`, schedules at its `steps`; `slopes` are RReLU's in training."""
    with np.load(source) as file:
        arrays = {name: file[name] for name in file.files}
    steps = arrays.pop("steps")
    results = {f"maxout2/{name}": tfa.layers.Maxout(2)(x) for name, x in arrays.items()}
    results |= {f"rrelu/{name}": tfa.activations.rrelu(x, training=False) for name, x in arrays.items()}
    results |= {f"rates/{mode}": rates(mode, steps, 0.01, 0.3, 37, 0.999) for mode in SCHEDULES}
    results["slopes"] = -tfa.activations.rrelu(-tf.ones(100_000), training=True)
    np.savez(target, **{name: np.asarray(value) for name, value in results.items()})


if __name__ == "__main__":
    if len(sys.argv) == 3:
        other(*sys.argv[1:])
    else:
        sys.exit(kept())
