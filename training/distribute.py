"""One device or many: `tf.distribute` strategies for Keras 3, and JAX's data parallelism, behind one call."""

import contextlib
import json
import os
from collections.abc import Iterator
from typing import Any, Literal

import keras

from convcraft.layers.base import to_numpy

from . import feeding
from .common import STRATEGIES

Strategy = Any  # tf.distribute.Strategy or keras.distribution.DataParallel


def strategy(kind: str | None = "auto") -> Strategy | None:
    """The strategy to build and train a model under.

    Args:
        kind: "auto": none on one device (a strategy would only turn XLA off), `MirroredStrategy` over several local
            ones, `MultiWorkerMirroredStrategy` where the environment variable `TF_CONFIG` names several workers; on
            JAX, `keras.distribution.DataParallel` over several.
            "mirrored": all local GPUs, or where there are none the logical CPUs, also if it is only one.
            "multiworker": as `TF_CONFIG` says. Call this before anything else touches TensorFlow.
            None or "none": no strategy.

    Returns:
        A `tf.distribute.Strategy`, a `keras.distribution.DataParallel`, or None.

    Raises:
        ValueError: for another kind, or one that the backend or the environment cannot give.
        RuntimeError: for "multiworker" after something else has used TensorFlow.
    """
    if kind in (None, "none"):
        return None
    if kind not in STRATEGIES:
        raise ValueError(f"Expected strategy to be None or one of {', '.join(STRATEGIES)}; received {kind!r}.")
    backend = keras.backend.backend()
    if backend != "tensorflow":
        return _other_backend(kind, backend)
    workers = _workers()
    if kind == "multiworker" or (kind == "auto" and workers > 1):
        return _multiworker(workers)
    import tensorflow as tf

    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if kind == "auto" and len(devices) < 2:
        return None
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def _other_backend(kind: str, backend: str) -> Strategy | None:
    if kind == "auto" and backend != "jax":
        return None
    if backend != "jax" or kind != "auto":
        raise ValueError(
            f"strategy={kind!r} needs the TensorFlow backend; received KERAS_BACKEND={backend}. "
            "Expected 'auto' or None."
        )
    return keras.distribution.DataParallel() if len(keras.distribution.list_devices()) > 1 else None


def _workers() -> int:
    config = os.environ.get("TF_CONFIG", "")
    try:
        cluster = json.loads(config or "{}").get("cluster", {})
        return len(cluster.get("worker", [])) + len(cluster.get("chief", []))
    except (json.JSONDecodeError, AttributeError) as error:
        raise ValueError(f"Expected TF_CONFIG to be a JSON object; received {config!r}.") from error


def _multiworker(workers: int) -> Strategy:
    if not workers:
        raise ValueError(
            "strategy='multiworker' expects the environment variable TF_CONFIG to list the workers, for example "
            '{"cluster": {"worker": ["host1:12345", "host2:12345"]}, "task": {"type": "worker", "index": 0}}; '
            "it is not set."
        )
    import tensorflow as tf

    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise RuntimeError(
            "MultiWorkerMirroredStrategy must be made before anything else uses TensorFlow: call "
            "distribute.strategy('multiworker') first in the program."
        ) from error


@contextlib.contextmanager
def scope(strategy: Strategy | None) -> Iterator[None]:
    """The context to build and compile a model in; without a strategy, nothing."""
    if strategy is None:
        yield
    elif hasattr(strategy, "scope"):
        context = strategy.scope()
        with context:
            yield
    else:
        before = keras.distribution.distribution()
        keras.distribution.set_distribution(strategy)
        try:
            yield
        finally:
            keras.distribution.set_distribution(before)


def replicas(strategy: Strategy | None) -> int:
    """Over how many devices a batch is split."""
    if strategy is None:
        return 1
    if hasattr(strategy, "num_replicas_in_sync"):
        return strategy.num_replicas_in_sync
    return strategy.device_mesh.devices.size


def strategy_of(model: keras.Model) -> Strategy | None:
    """The strategy that `model` was built under; None without one."""
    # not the property distribute_strategy, which answers with whatever strategy is active
    return getattr(model, "_distribute_strategy", None)


def answers(model: keras.Model, images: Any) -> Any:
    """What `model` answers to a batch of images, each image once, in NumPy.

    Keras's `predict_on_batch` shows the whole batch to every replica, and gives the answers of all.
    """
    count = feeding.count(images)
    return keras.tree.map_structure(lambda answer: to_numpy(answer)[:count], model.predict_on_batch(images))


def is_chief(strategy: Strategy | None) -> bool:
    """Whether this process writes files: the only one, or the first of several workers."""
    resolver = getattr(strategy, "cluster_resolver", None)
    if resolver is None or not resolver.task_type:
        return True
    has_chief = "chief" in resolver.cluster_spec().as_dict()
    return resolver.task_type == "chief" or (not has_chief and resolver.task_type == "worker" and resolver.task_id == 0)


def compile_xla(strategy: Strategy | None = None) -> bool | Literal["auto"]:
    """What to pass as `jit_compile` on this device.

    Convolutional networks train slower with XLA on CPUs, where Keras's "auto" used it before Keras 3.15. Here: "auto"
    on a GPU without a strategy (XLA wherever all layers support it), False elsewhere. JAX always compiles, PyTorch
    does not.
    """
    backend = keras.backend.backend()
    if backend != "tensorflow":
        return backend == "jax"
    import tensorflow as tf

    return "auto" if strategy is None and tf.config.list_logical_devices("GPU") else False
