"""`check_layer`: the contract of every layer, checked in one line of its test file."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

BACKEND = keras.backend.backend()


def numpy(tensor):
    """A float tensor of any backend and dtype as a NumPy array."""
    return np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32")))


def draw(shape, dtype="float32", low=-3.0, high=3.0, seed=0):
    """Reproducible inputs."""
    return np.random.default_rng(seed).uniform(low, high, shape).astype(dtype)


# Models that classify every pixel: their outputs are maps.
SEGMENTATION = ("fcn32s", "fcn16s", "fcn8s", "water_unet")


def unlisted(table):
    """The first model of each family of which none is in `table`: an architecture is tested from its first day on."""
    from convcraft.zoo import index  # imported here: other tests of the harness need no zoo

    known = {index.BUILDERS[index.NAMES[name]] for name in (*table, *SEGMENTATION)}
    first = {module: name for name, module in reversed([(n, index.BUILDERS[b]) for n, b in index.NAMES.items()])}
    return [name for module, name in first.items() if module not in known][::-1]


def environment(**changes):
    """The environment for a child process, with this one's import path."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return {**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3", **changes}


def python(code, *arguments, timeout=300, check=True, cwd=None, **env):
    """Runs a Python program in a fresh process; returns its stdout, or fails with its stderr."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environment(**env), cwd=cwd)
    if check and done.returncode:
        pytest.fail(f"exit status {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return done.stdout if check else done


class FreshProcess:
    """Loads `.keras` files and applies them, in a process of its own that is started when first needed."""

    CODE = """
import sys, json, numpy, convcraft
for line in sys.stdin:
    job = json.loads(line)
    try:
        model = convcraft.load_model(job["model"])
        outputs = model.predict(numpy.load(job["inputs"]), verbose=0)
        numpy.save(job["outputs"], numpy.asarray(outputs, "float32"))
        print("done: " + json.dumps([layer.get_config() for layer in model.layers[1:]], default=str), flush=True)
    except Exception as error:
        print("failed: " + repr(error), flush=True)
"""

    def __init__(self):
        self.process = None

    def predict(self, model, inputs, folder):
        """Saves `model`, has it loaded and applied to `inputs` there; returns outputs and configurations."""
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, "-c", self.CODE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment(),
            )
        job = {"model": f"{folder}/m.keras", "inputs": f"{folder}/x.npy", "outputs": f"{folder}/y.npy"}
        model.save(job["model"])
        np.save(job["inputs"], inputs)
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer.startswith("done: "), answer
        return np.load(job["outputs"]), json.loads(answer.removeprefix("done: "))

    def close(self):
        """Ends the process."""
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait()


def check_layer(
    make,
    shapes,
    *,
    random=False,
    augmentation=False,
    reference=None,
    trainable=0,
    flexible=True,
    branches=None,
    bad=(),
):
    """Adds `test_contract` to the module that calls it.

    Args:
        make: the layer's class, or a function of keyword arguments that makes one.
        shapes: input shapes with the batch; the first is the default, the others vary one thing each.
        random: whether two calls in training differ; `make` must take `seed`.
        augmentation: whether it changes images in `dataset.map` and nothing in `predict`.
        reference: NumPy inputs (float64) to outputs at inference; the oracle.
        trainable: number of trainable variables.
        flexible: whether sizes other than the channels may be unknown.
        branches: for a layer that takes a list: factors of one tensor that make the list, as (1, -0.5).
        bad: pairs of keyword arguments that are refused and a pattern of the message.
    """
    module = sys._getframe(1).f_globals
    subject = _Subject(make, shapes, random, augmentation, reference, trainable, flexible, branches)
    checks = [name for name in dir(_Subject) if name.startswith("check_") and subject.applies(name)]
    cases = [(check, shapes[0]) for check in checks] + [("check_output", shape) for shape in shapes[1:]]

    @pytest.mark.parametrize("check, shape", cases, ids=[f"{c.removeprefix('check_')}-{s}" for c, s in cases])
    def test_contract(check, shape, fresh_process, tmp_path):
        getattr(subject, check)(shape, fresh=fresh_process, folder=tmp_path)

    module["test_contract"] = test_contract
    if bad:

        @pytest.mark.parametrize("arguments, message", bad)
        def test_bad_arguments(arguments, message):
            with pytest.raises(ValueError, match=message):
                make(**arguments)

        module["test_bad_arguments"] = test_bad_arguments


class _Subject:
    def __init__(self, make, shapes, random, augmentation, reference, trainable, flexible, branches):
        self.make = make
        self.shapes = shapes
        self.random = random
        self.augmentation = augmentation
        self.reference = reference
        self.trainable = trainable
        self.flexible = flexible
        self.branches = branches
        self.seed = {"seed": 7} if random else {}

    def applies(self, check):
        needs = {
            "check_random": self.random,
            "check_replicas_differ": self.random and BACKEND == "tensorflow",
            "check_map": self.augmentation and BACKEND == "tensorflow",
            "check_uint8": self.augmentation,
            "check_pure": self.augmentation,
            "check_sizes_unknown": self.flexible,
        }
        return needs.get(check, True)

    def inputs(self, shape, dtype="float32"):
        return draw(shape, dtype, *((0, 255) if self.augmentation else (-3, 3)))

    def spread(self, x):
        """What the layer takes: `x`, or the list made of it."""
        return x if self.branches is None else [x * factor for factor in self.branches]

    def train(self, layer, x):
        """The layer in training, where it has such a phase."""
        x = self.spread(x)
        return layer(x, training=True) if self.random or self.augmentation else layer(x)

    def check_output(self, shape, **_):
        layer, x = self.make(), self.inputs(shape)
        y = self.rest(layer, x)
        assert tuple(y.shape) == self.output_shape(layer, shape)
        assert keras.backend.standardize_dtype(y.dtype) == "float32"
        assert np.isfinite(numpy(y)).all()
        assert len(layer.trainable_variables) == self.trainable
        if self.reference:
            np.testing.assert_allclose(numpy(y), self.reference(x.astype("float64")), rtol=1e-5, atol=1e-5)
        if self.random:
            assert tuple(self.train(layer, x).shape) == tuple(y.shape)

    def output_shape(self, layer, shape):
        """What the layer says of it."""
        return tuple(layer.compute_output_shape(shape if self.branches is None else [shape] * len(self.branches)))

    def rest(self, layer, x):
        """The layer at inference."""
        x = self.spread(x)
        return layer(x, training=False) if self.random or self.augmentation else layer(x)

    def check_config(self, shape, **_):
        layer = self.make(**self.seed)
        config = json.loads(json.dumps(layer.get_config()))
        again = type(layer).from_config(config)
        assert json.loads(json.dumps(again.get_config())) == config
        assert keras.saving.get_registered_name(type(layer)).startswith("convcraft>")
        generators = sum("seed_generator_state" in v.path for v in layer.non_trainable_variables + layer.variables)
        assert bool(generators) == (self.random or self.branches is not None)

    def check_fresh_process(self, shape, fresh, folder, **_):
        layer, x = self.make(**self.seed), self.inputs(shape)
        inputs = keras.Input(shape[1:])
        model = keras.Model(inputs, layer(self.spread(inputs)))
        y, configs = fresh.predict(model, x, folder)
        np.testing.assert_allclose(y, model.predict(x, verbose=0), rtol=1e-6, atol=1e-6)
        assert configs[-1] == json.loads(json.dumps(layer.get_config(), default=str))

    def check_dtypes(self, shape, **_):
        expected = numpy(self.rest(self.make(), self.inputs(shape)))
        for policy, dtype, rtol in (("mixed_float16", "float16", 1e-2), ("mixed_bfloat16", "bfloat16", 3e-2)):
            layer = self.make(dtype=policy)
            y = self.rest(layer, self.inputs(shape))
            assert keras.backend.standardize_dtype(y.dtype) == dtype
            np.testing.assert_allclose(numpy(y), expected, rtol=rtol, atol=rtol * np.abs(expected).max())
            y = self.train(self.make(dtype=policy, **self.seed), self.inputs(shape))
            assert keras.backend.standardize_dtype(y.dtype) == dtype
            assert np.isfinite(numpy(y)).all()

    def check_sizes_unknown(self, shape, **_):
        unknown = (*[None] * (len(shape) - 2), shape[-1])
        inputs = keras.Input(unknown)
        model = keras.Model(inputs, self.make()(self.spread(inputs)))
        assert len(model.output_shape) == len(self.output_shape(self.make(), shape))
        y = model.predict(self.inputs(shape), verbose=0)
        np.testing.assert_allclose(y, numpy(self.rest(self.make(), self.inputs(shape))), rtol=1e-5, atol=1e-4)

    def check_xla(self, shape, **_):
        """Compiled equals eager; TensorFlow's own random numbers differ under XLA, so with those only at inference."""
        self.compare_compiled(self.rest, shape, exact=True)
        self.compare_compiled(self.train, shape, exact=self.augmentation or not self.random)

    def compare_compiled(self, phase, shape, exact):
        x, layer = self.inputs(shape), self.make(**self.seed)
        layer.build(shape if self.branches is None else [shape] * len(self.branches))
        if not layer.supports_jit:  # said by the layer, and heeded by Keras's jit_compile="auto"
            pytest.skip("this layer says that XLA cannot compile it here")
        if BACKEND == "tensorflow":
            import tensorflow as tf

            y = tf.function(lambda x: phase(layer, x), jit_compile=True)(tf.constant(x))
        elif BACKEND == "jax":
            import jax

            states = (
                [v.value for v in layer.trainable_variables],
                [v.value for v in layer.non_trainable_variables],
            )
            options = {"training": phase == self.train} if self.random or self.augmentation else {}
            y, _ = jax.jit(lambda x: layer.stateless_call(*states, self.spread(x), **options))(x)
        else:
            pytest.skip("XLA is TensorFlow's and JAX's")
        expected = numpy(phase(self.make(**self.seed), x))
        assert y.shape == expected.shape and np.isfinite(numpy(y)).all()
        if exact:
            np.testing.assert_allclose(numpy(y), expected, rtol=1e-4, atol=1e-3)

    def check_gradients(self, shape, **_):
        """Gradients reach the input, through a model that trains one step."""
        inputs = keras.Input(shape[1:])
        x = keras.layers.Dense(shape[-1], name="before")(inputs)
        x = self.make(**self.seed)(self.spread(x))
        model = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Flatten()(x)))
        model.compile(keras.optimizers.SGD(1e-3), "mse", jit_compile=BACKEND == "jax")
        before = model.get_layer("before").get_weights()[0].copy()
        model.fit(self.inputs(shape), np.ones((shape[0], 1)), verbose=0, batch_size=shape[0])
        after = model.get_layer("before").get_weights()[0]
        assert np.isfinite(after).all()
        assert np.abs(after - before).max() > 0

    def check_random(self, shape, **_):
        x = self.inputs(shape)
        one, other, third = self.make(seed=7), self.make(seed=7), self.make(seed=8)
        first = numpy(self.train(one, x))
        np.testing.assert_array_equal(first, numpy(self.train(other, x)))
        assert (first != numpy(self.train(one, x))).any(), "a second call draws anew"
        assert (first != numpy(self.train(third, x))).any(), "another seed draws otherwise"
        np.testing.assert_array_equal(numpy(self.rest(one, x)), numpy(self.rest(one, x)))
        assert np.isfinite(numpy(self.train(self.make(), x))).all(), "seed=None"

    def check_replicas_differ(self, shape, **_):
        import tensorflow as tf

        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
        x = tf.constant(self.inputs(shape))
        with strategy.scope():
            layer = self.make(seed=7)
            layer.build(shape if self.branches is None else [shape] * len(self.branches))
        step = tf.function(lambda: self.train(layer, x))
        rounds = [strategy.experimental_local_results(strategy.run(step)) for _ in range(3)]
        outputs = [numpy(value) for values in rounds for value in values]
        for i, one in enumerate(outputs):
            for other in outputs[i + 1 :]:
                assert (one != other).any(), "replicas and steps must all draw differently"

    def check_map(self, shape, **_):
        """In a tf.data pipeline it augments, as it does not in `predict` and with `training=False`."""
        import tensorflow as tf

        x, layer = self.inputs(shape), self.make(**self.seed)
        mapped = next(iter(tf.data.Dataset.from_tensors(x).map(layer)))
        assert np.abs(numpy(mapped) - x).max() > 0
        np.testing.assert_array_equal(numpy(layer(x, training=False)), x)
        inputs = keras.Input(shape[1:])
        np.testing.assert_array_equal(keras.Model(inputs, layer(inputs)).predict(x, verbose=0), x)
        one_image = next(iter(tf.data.Dataset.from_tensor_slices(x).map(layer)))
        assert tuple(one_image.shape) == shape[1:]

    def check_uint8(self, shape, **_):
        x = self.inputs(shape, "uint8")
        y = self.train(self.make(**self.seed), x)
        assert keras.backend.standardize_dtype(y.dtype) == "float32"
        same = self.train(self.make(**self.seed), x.astype("float32"))
        np.testing.assert_array_equal(numpy(y), numpy(same))

    def check_pure(self, shape, **_):
        """One draw an image: it depends on the image's seed, not on the batch it is in."""
        x, seeds, layer = self.inputs(shape), np.arange(5, 5 + shape[0], dtype="int32"), self.make()
        together = numpy(layer.transform(x, seeds))
        alone = np.concatenate([numpy(layer.transform(x[i : i + 1], seeds[i : i + 1])) for i in range(shape[0])])
        np.testing.assert_allclose(together, alone, rtol=1e-6, atol=1e-4)
        np.testing.assert_array_equal(numpy(layer.transform(x, 3)), numpy(layer.transform(x, 3)))
        same = np.broadcast_to(x[:1], x.shape)
        changed = numpy(layer.transform(same, 3))
        assert (changed[0] != changed[1]).any(), "each image has a draw of its own"
