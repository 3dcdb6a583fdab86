"""`make oracle`: what tensorflow-addons gives, live, against the vectors that our tests keep.

Runs in an environment of its own (requirements-oracle.txt), where Keras 3 and convcraft cannot be. Exits with status 1
if a kept vector is not what tensorflow-addons computes.
"""

import os
import sys
import warnings

warnings.filterwarnings("ignore")
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import tensorflow as tf
import tensorflow_addons as tfa

row = np.arange(6, dtype="float32")[None]
grid = np.arange(2 * 2 * 2 * 6, dtype="float32").reshape(2, 2, 2, 6) % 7 - 3
KEPT = {  # as in tests/layers/test_maxout.py and test_rrelu.py
    "Maxout(2)": (tfa.layers.Maxout(2)(row), [[4.0, 5.0]]),
    "Maxout(3)": (tfa.layers.Maxout(3)(row), [[3.0, 4.0, 5.0]]),
    "Maxout(1)": (tfa.layers.Maxout(1)(row), [[5.0]]),
    "Maxout(6)": (tfa.layers.Maxout(6)(row), [[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]]),
    "Maxout(2), images": (
        tfa.layers.Maxout(2)(grid),
        np.stack([grid[..., u::2].max(axis=-1) for u in range(2)], axis=-1),
    ),
    "rrelu at inference": (tfa.activations.rrelu(tf.constant([-1.0]), training=False), [-0.22916667]),
}

failed = 0
for name, (live, kept) in KEPT.items():
    same = np.allclose(live, kept, rtol=0, atol=1e-8)
    failed += not same
    print(f"{'ok  ' if same else 'BAD '} {name}: {np.asarray(live).ravel()[:6].tolist()}")
draws = -np.asarray(tfa.activations.rrelu(-tf.ones(100_000), training=True))
inside = bool((draws >= 1 / 8 - 1e-7).all() and (draws <= 1 / 3 + 1e-7).all())
failed += not inside
print(f"{'ok  ' if inside else 'BAD '} rrelu in training: slopes from {draws.min():.4f} to {draws.max():.4f}")
print(f"tensorflow-addons {tfa.__version__}, {len(KEPT) + 1 - failed} passed, {failed} failed")
sys.exit(bool(failed))
