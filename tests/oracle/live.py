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

KEPT = {  # as in tests/layers/test_maxout.py and test_rrelu.py
    "Maxout(2)": (lambda x: tfa.layers.Maxout(2)(x), [[4.0, 5.0]]),
    "Maxout(3)": (lambda x: tfa.layers.Maxout(3)(x), [[3.0, 4.0, 5.0]]),
    "Maxout(1)": (lambda x: tfa.layers.Maxout(1)(x), [[5.0]]),
    "Maxout(6)": (lambda x: tfa.layers.Maxout(6)(x), [[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]]),
    "rrelu(-1)": (lambda x: tfa.activations.rrelu(x * 0 - 1, training=False)[:, :1], [[-0.22916667]]),
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
    """Maxout and RReLU of the arrays in `source`; `slopes` are RReLU's in training."""
    with np.load(source) as file:
        arrays = {name: file[name] for name in file.files}
    results = {f"maxout2/{name}": tfa.layers.Maxout(2)(x) for name, x in arrays.items()}
    results |= {f"rrelu/{name}": tfa.activations.rrelu(x, training=False) for name, x in arrays.items()}
    results["slopes"] = -tfa.activations.rrelu(-tf.ones(100_000), training=True)
    np.savez(target, **{name: np.asarray(value) for name, value in results.items()})


if __name__ == "__main__":
    if len(sys.argv) == 3:
        other(*sys.argv[1:])
    else:
        sys.exit(kept())
