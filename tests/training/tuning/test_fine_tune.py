"""Fine-tuning steps into none of the traps that people have stepped into before; each has its test."""

import dataclasses
import importlib
import random

import keras
import numpy as np
import pytest
from harness import draw

from convcraft import layers, training, zoo
from convcraft.training import balancing
from convcraft.training.tuning import bodies, frozen_features, policies
from convcraft.training.tuning import linear as linear_heads
from convcraft.training.tuning import tune as tuned
from convcraft.training.tuning.choices import Choice
from convcraft.training.tuning.options import FineTuning
from convcraft.training.tuning.task import Task

SIZE = 16
RNG = np.random.default_rng(0)


def pictures(per_class=(12, 12), size=SIZE, seed=0):
    """Photographs of stripes: lying and standing, of random colours, phases and widths. Not to be mirrored in vain."""
    rng = np.random.default_rng(seed)
    grid = np.arange(size)
    images, labels = [], []
    for label, count in enumerate(per_class):
        for _ in range(count):
            wave = 90 * np.sin(grid * rng.uniform(0.8, 1.6) + rng.uniform(0, 6))
            stripes = np.broadcast_to(wave[:, None] if label % 2 else wave[None], (size, size))
            images.append(128 + stripes[..., None] * rng.uniform(0.4, 1, 3) + rng.normal(0, 10, (size, size, 3)))
            labels.append(label)
    return np.clip(images, 0, 255).astype("uint8"), np.array(labels)


def data(per_class=(12, 12), size=SIZE, **options):
    (x, y), (xt, yt) = pictures(per_class, size), pictures((8,) * len(per_class), size, seed=1)
    names = np.array(["lying", "standing", "third"][: len(per_class)])
    arrays = {"x_train": x, "y_train": y, "x_test": xt, "y_test": yt, "names": names}
    return training.data.load(arrays, validation=0, batch_size=8, **options)


def pretrained(normalization=True, name="pretrained", classes=5):
    """A small network of Keras's layers, weights and statistics random and far from their first values."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1, name="scale")(inputs)
    for number in range(3):
        x = keras.layers.Conv2D(8, 3, padding="same", name=f"conv{number}")(x)
        if normalization:
            x = keras.layers.BatchNormalization(name=f"norm{number}")(x)
        x = keras.layers.ReLU(name=f"relu{number}")(x)
        x = keras.layers.MaxPooling2D(name=f"max{number}")(x)
    x = keras.layers.GlobalAveragePooling2D(name="mean")(x)
    x = keras.layers.Dense(classes, name="logits")(x)
    model = keras.Model(inputs, keras.layers.Softmax(name="shares")(x), name=name)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            layer.set_weights([gamma + 0.3, beta + 0.1, mean + 0.2, variance * 1.5])
    return model


def tune(model=None, images=None, **options):
    options = {"epochs": 2, "verbose": False, **options}
    return training.fine_tune(pretrained() if model is None else model, images or data(), **options)


def weights(model, name):
    return [w.copy() for w in model.get_layer(name).get_weights()]


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


class TestFreezing:
    @pytest.mark.parametrize("policy", [pytest.param("top", marks=pytest.mark.slow), "deep"])
    def test_batch_normalization_of_what_is_pretrained_keeps_all_it_has(self, policy):
        """keras#9214, #11590: batches of few, similar images would ruin its statistics."""
        model = pretrained()
        tuned = tune(model, policy=policy, learning_rate=0.01)
        assert not same(weights(tuned.model, "conv2"), weights(model, "conv2"))
        for number in range(3):
            assert same(weights(tuned.model, f"norm{number}"), weights(model, f"norm{number}"))
        # and it is in inference mode while training
        x = draw((4, SIZE, SIZE, 3), low=0, high=255)
        body = keras.Model(tuned.model.input, tuned.model.get_layer("mean").output)
        both = [keras.ops.convert_to_numpy(body(x, training=training)) for training in (True, False)]
        np.testing.assert_array_equal(*both)

    def test_normalization_of_new_weights_learns(self):
        tuned = tune(policy="scratch", learning_rate=0.01)
        _, _, mean, variance = weights(tuned.model, "norm0")
        assert np.abs(mean).max() > 1e-3 and np.abs(variance - 1).max() > 1e-3

    def test_what_is_frozen_stays_and_what_is_trained_moves(self):
        """keras#4674, #7085: freezing after compile does nothing."""
        for policy, moving in (("top", {"conv2"}), ("linear", set())):
            model = pretrained(normalization=False)
            tuned = tune(model, policy=policy, learning_rate=0.01)
            moved = {
                name
                for name in ("conv0", "conv1", "conv2")
                if not same(weights(model, name), weights(tuned.model, name))
            }
            assert moved == moving, policy

    def test_the_pretrained_model_stays_as_it_is(self):
        model = pretrained()
        before = [w.copy() for w in model.get_weights()]
        trainable = [layer.trainable for layer in model.layers]
        tune(model, policy="deep", learning_rate=0.1)
        assert same(before, model.get_weights()) and trainable == [layer.trainable for layer in model.layers]

    def test_groups_learn_at_the_rates_of_the_plan(self):
        """keras#414 and its eight sisters: a rate for each group. SGD's one step is rate times gradient."""
        images, steps = data(), {}
        for factor in (1.0, 0.25):
            model = pretrained(normalization=False)  # which sets the seed, of dropout too
            task = Task(
                model,
                images,
                FineTuning(policy="deep", optimizer="sgd", schedule="constant", weight_decay=0.0),
                False,
                print,
            )
            body = task.body
            net = policies.with_head(body, images.class_names)
            head = net.get_layer("fine_tuned_head")
            head.set_weights([np.ones_like(w) * np.arange(2) for w in head.get_weights()])
            groups = policies.prepare(net, body, "deep", 0.1)
            groups[0] = dataclasses.replace(groups[0], factor=factor)
            groups[1:3] = [dataclasses.replace(group, factor=1.0) for group in groups[1:3]]
            task.compile(net, groups, 0.1, 1, 1)
            before = weights(net, "conv0")[0], weights(net, "conv2")[0]
            x, y = images.arrays("train")
            net.train_on_batch(x[:8], y[:8])
            steps[factor] = weights(net, "conv0")[0] - before[0], weights(net, "conv2")[0] - before[1]
        assert np.abs(steps[1.0][0]).max() > 1e-6
        np.testing.assert_allclose(steps[0.25][0], 0.25 * steps[1.0][0], atol=1e-7)
        np.testing.assert_allclose(steps[0.25][1], steps[1.0][1], atol=1e-7)

    def test_the_plan_tells_the_groups(self, capsys):
        tuned = tune(policy="deep", learning_rate=0.01, verbose=True)
        said = capsys.readouterr().out
        assert said.index("Plan: fine-tune pretrained by the policy 'deep'") < said.index("epoch 1/2")
        assert "early layers  learns at 0.003" in said and "late layers   learns at 0.01" in said
        assert "24 train, 16 test" in said and "expected" in said and "inference mode" in said
        assert [group.rate for group in tuned.plan.groups] == pytest.approx([0.003, 0.01, 0.01, 0.01])
        assert [group.layers for group in tuned.plan.groups][0] == ("conv0", "norm0")
        linear = tune(policy="linear").plan
        assert all(group.rate == 0 for group in linear.groups[:3]) and "frozen" in str(linear)


class TestHead:
    def test_the_classifier_is_replaced_and_knows_the_folders_classes(self, tmp_path):
        """One file: raw images in, the names of the classes in it (an attribute of the model would be lost)."""
        tuned = tune(policy="linear")
        assert tuned.model.output_shape == (None, 2) and "'logits' and what follows it" in str(tuned.plan)
        tuned.model.save(tmp_path / "m.keras")
        again = zoo.load_model(tmp_path / "m.keras")
        assert zoo.class_names(again) == ["lying", "standing"]
        x, y = data().arrays("test")
        np.testing.assert_allclose(again.predict(x, verbose=0), tuned.model.predict(x, verbose=0), atol=1e-5)
        assert tuned.metrics["accuracy"] == (again.predict(x, verbose=0).argmax(axis=1) == y).mean()

    @pytest.mark.parametrize("classes", [2, 3])
    def test_the_linear_head_is_scikit_learns(self, classes):
        """Its probabilities on raw images are those of scaler and regression, within the softening of all logits."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        images = data((14,) * classes)
        body = bodies.find(pretrained(), images.image_shape)
        features = frozen_features.compute(body, images)
        linear = linear_heads.logistic(features)
        x, y = images.arrays("train")
        seen = [body.model.predict(each, verbose=0) for each in (x, x[:, :, ::-1])]
        np.testing.assert_allclose(features.vectors[""], seen[0], atol=1e-5)
        oracle = make_pipeline(StandardScaler(), LogisticRegression(C=linear.strength, max_iter=300))
        oracle.fit(np.concatenate(seen), np.concatenate([y, y]))
        wanted = oracle.predict_log_proba(seen[0])
        found = seen[0] @ linear.kernel + linear.bias
        wanted, found = (each - each.mean(axis=1, keepdims=True) for each in (wanted, found))
        softening = (found * wanted).sum() / (wanted * wanted).sum()
        assert 0.09 < softening < 11
        np.testing.assert_allclose(found, softening * wanted, atol=0.02 * np.abs(found).max())

    def test_held_out_accuracy_is_of_images_that_were_held_out(self):
        """Random labels: on its own training images a classifier of many features is right, on others it is not."""
        rng = np.random.default_rng(0)
        vectors = {"": rng.normal(size=(60, 200)).astype("float32")}
        features = frozen_features.Features(vectors, {}, np.arange(60, dtype="int32") % 2)
        linear = linear_heads.logistic(features)
        fitted = ((vectors[""] @ linear.kernel + linear.bias).argmax(axis=1) == features.labels).mean()
        assert fitted > 0.9 and linear.accuracy < 0.75

    @pytest.mark.slow
    def test_svm_is_on_an_earlier_layer(self):
        images = data(size=64)
        model = zoo.create("squeezenet_cifar", input_shape=(64, 64, 3), design=zoo.Design(width=0.25))
        tuned = tune(model, images, policy="svm")
        earlier = list(bodies.find(model, (64, 64, 3)).levels)[:-1]
        assert any(repr(name) in str(tuned.plan) for name in earlier)
        assert tuned.plan.epochs == 0 and tuned.metrics["n"] == 16


class TestPreprocessing:
    @pytest.mark.parametrize(
        "module, name",
        [
            ("mobilenet_v2", "MobileNetV2"),
            ("vgg16", "VGG16"),
            pytest.param("densenet", "DenseNet121", marks=pytest.mark.slow),
            pytest.param("efficientnet", "EfficientNetB0", marks=pytest.mark.slow),
        ],
    )
    def test_models_of_keras_see_what_they_were_trained_on(self, module, name):
        """keras#8672, #15822, #17143: three modes of preprocessing, outside of the models."""
        keras.utils.set_random_seed(0)
        model = getattr(keras.applications, name)(
            weights=None, input_shape=(32, 32, 3), include_top=False, pooling="avg"
        )
        x = RNG.uniform(0, 255, (2, 32, 32, 3)).astype("float32")
        function = importlib.import_module(f"keras.applications.{module}").preprocess_input
        expected = model.predict(function(x.copy()), verbose=0)
        body = bodies.find(model, (32, 32, 3))
        found = body.model.predict(x, verbose=0)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
        raw = model.predict(x, verbose=0)
        assert name == "EfficientNetB0" or np.abs(raw - expected).max() > 1e-3 * np.abs(expected).max()

    def test_an_unknown_preprocessing_is_asked_for(self):
        inputs = keras.Input((SIZE, SIZE, 3))
        x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(inputs))
        mine = keras.Model(inputs, keras.layers.Dense(3)(x), name="mine")
        with pytest.raises(ValueError, match="mine has no layer that preprocesses images.*raw, 0-1, tf, torch, caffe"):
            tune(mine)
        image = RNG.uniform(0, 255, (1, SIZE, SIZE, 3)).astype("float32")
        found = bodies.find(mine, (SIZE, SIZE, 3), preprocessing="0-1").model.predict(image, verbose=0)
        expected = keras.Model(inputs, x).predict(image / 255, verbose=0)
        np.testing.assert_allclose(found, expected, rtol=1e-4)
        with pytest.raises(ValueError, match="preprocesses images itself"):
            tune(pretrained(), preprocessing="tf")

    def test_a_backbone_of_keras_hub_keeps_its_preprocessing(self):
        """Their tasks have a backbone, and a preprocessor whose image converter scales."""
        backbone = keras.applications.MobileNet(weights=None, input_shape=(32, 32, 3), include_top=False, alpha=0.25)

        class Converter:
            scale, offset = [1 / 255.0] * 3, [-0.5, 0.0, 0.5]

        class Preprocessor:
            image_converter = Converter()

        class ImageClassifier:
            name, preprocessor = "hub", Preprocessor()

        ImageClassifier.backbone = backbone
        x = RNG.uniform(0, 255, (2, 32, 32, 3)).astype("float32")
        found = bodies.find(ImageClassifier(), (32, 32, 3)).model.predict(x, verbose=0)
        expected = backbone.predict(x / 255 + np.float32([-0.5, 0, 0.5]), verbose=0).mean(axis=(1, 2))
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)

    @pytest.mark.slow
    def test_a_task_of_keras_hub_itself(self, monkeypatch):
        monkeypatch.setenv("KERAS_HUB_HOME", "")  # nothing is downloaded
        hub = pytest.importorskip("keras_hub")
        stages = {"stackwise_num_filters": [64, 64], "stackwise_num_blocks": [1, 1], "stackwise_num_strides": [1, 2]}
        backbone = hub.models.ResNetBackbone(
            input_conv_filters=[64],
            input_conv_kernel_sizes=[3],
            block_type="basic_block",
            image_shape=(32, 32, 3),
            **stages,
        )
        converter = hub.layers.ResNetImageConverter(image_size=(32, 32), scale=1 / 255, offset=-0.5)
        preprocessor = hub.models.ResNetImageClassifierPreprocessor(image_converter=converter)
        task = hub.models.ResNetImageClassifier(backbone=backbone, num_classes=5, preprocessor=preprocessor)
        x = RNG.uniform(0, 255, (2, 32, 32, 3)).astype("float32")
        found = bodies.find(task, (32, 32, 3)).model.predict(x, verbose=0)
        expected = backbone.predict(task.preprocessor(x), verbose=0).mean(axis=(1, 2))
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
        assert tune(task, data(size=32), policy="deep", epochs=1).model.output_shape == (None, 2)

    @pytest.mark.slow
    def test_nested_and_sequential_models(self):
        base = keras.applications.MobileNet(weights=None, input_shape=(32, 32, 3), include_top=False, alpha=0.25)
        stack = [keras.Input((32, 32, 3)), keras.layers.Rescaling(1 / 127.5, -1), base]
        mine = keras.Sequential([*stack, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(4, name="old")])
        tuned = tune(mine, data(size=32), policy="deep", epochs=1)
        assert tuned.model.output_shape == (None, 2)
        assert any("conv" in name for group in tuned.plan.groups for name in group.layers), "layers within are seen"


class TestAuto:
    def test_it_takes_the_best_of_what_it_measured_and_says_why(self):
        tuned = tune(images=data((20, 20)), policy="auto", epochs=3)
        measured = tuned.plan.measured
        assert {"linear", "svm", "deep"} <= set(measured)
        chosen = max(value for name, value in measured.items() if name.split()[0] == tuned.policy)
        assert chosen >= max(measured.values()) - 0.5 / 10 - 1e-9
        assert "held-out training images" in tuned.plan.why and "pretraining" in tuned.plan.why

    @pytest.mark.slow
    def test_trials_leave_no_trace(self):
        """What is chosen starts from the pretrained weights, not from a trial's."""
        model, images = pretrained(), data((20, 20))
        task = Task(model, images, FineTuning(policy="auto", epochs=3, learning_rate=0.1), False, lambda *a, **k: None)
        before = [w.copy() for w in task.body.model.get_weights()]
        choosing = importlib.import_module("convcraft.training.tuning.choosing")
        choosing.choose(task)
        assert same(before, task.body.model.get_weights())

    @pytest.mark.slow
    def test_where_nothing_pretrained_helps_it_trains_anew(self, monkeypatch):
        choosing = importlib.import_module("convcraft.training.tuning.choosing")
        shares = {"linear": 0.5, "svm": 0.5, "gentle": 0.5, "deep": 0.5, "scratch": 0.9}

        def trial(policy, rate=1.0):
            score = shares["gentle" if rate < 1 else policy]
            return choosing.Trial(policy, score, np.arange(10) < 10 * score, rate)

        monkeypatch.setattr(choosing, "_trained", lambda task, policy, rate, *rest: trial(policy, rate))
        monkeypatch.setattr(choosing, "_solved", lambda policy, *rest: trial(policy))

        def chosen(**changed):
            shares.update(changed)
            return tune(images=data((12, 12)), policy="auto", epochs=1).plan

        plan = chosen()
        assert plan.policy == "scratch" and "new weights do better than frozen ones, 90.0 to 50.0" in plan.why
        plan = chosen(deep=0.9)
        assert plan.policy == "deep" and "far from those of the pretraining" in plan.why
        full = [group.rate for group in plan.groups]
        plan = chosen(linear=0.8, gentle=0.9, deep=0.8)
        assert plan.policy == "deep" and "deep at 0.2 of the rate 90.0 %" in plan.why
        np.testing.assert_allclose([group.rate for group in plan.groups], [0.2 * rate for rate in full])
        plan = chosen(linear=0.9)
        assert plan.policy == "linear" and "are like those of the pretraining" in plan.why

    @pytest.mark.parametrize("held, right, retrains", [(400, 399, False), (400, 388, True), (40, 40, True)])
    def test_what_frozen_features_solve_is_not_retrained(self, held, right, retrains, monkeypatch):
        """All of 40 is too few to say so: Wilson's interval begins at 91 %."""
        choosing = importlib.import_module("convcraft.training.tuning.choosing")
        tried = []

        def trial(policy):
            return choosing.Trial(policy, right / held, np.arange(held) < right)

        monkeypatch.setattr(choosing, "_solved", lambda policy, *rest: trial(policy))
        monkeypatch.setattr(choosing, "_trained", lambda task, policy, *rest: tried.append(policy) or trial(policy))
        plan = tune(images=data((12, 12)), policy="auto", epochs=1).plan
        assert bool(tried) is retrains and ("nothing was retrained" in plan.why) is not retrains
        assert plan.policy == "linear"

    def test_a_class_of_one_image_tells_nothing_held_out(self):
        """With nothing held out, no share of it is right."""
        images = data((19, 1))
        plan = tune(images=images, policy="linear").plan
        assert "begins" in plan.settings and "held out" not in plan.settings["begins"]
        assert "held out" in tune(images=data(), policy="linear").plan.settings["begins"]

    def test_too_few_to_measure(self):
        tuned = tune(images=data((5, 12)), policy="auto")
        assert tuned.policy == "linear" and "only 5 images" in tuned.plan.why


class TestImbalance:
    def test_it_is_noticed_and_remedies_are_offered(self):
        plan = str(tune(images=data((30, 5)), policy="linear").plan)
        assert "lying has 6.0 times the images of standing (30 and 5)" in plan
        assert "oversample" in plan and "weights" in plan
        assert "imbalance" not in str(tune(images=data((6, 5)), policy="linear").plan)
        assert "imbalance" not in str(tune(images=data((30, 5)), policy="linear", balance="weights").plan)

    @pytest.mark.parametrize("kind, shown", [("oversample", 60), ("undersample", 10), ("batches", 35), ("crops", 60)])
    def test_every_kind_of_balance_trains(self, kind, shown):
        loaded = data((30, 5))
        tuned = tune(images=loaded, policy="top", balance=kind, epochs=1)
        assert tuned.plan.steps == -(-shown // 8) and kind in str(tuned.plan)

    def test_two_stages_in_one_training(self, monkeypatch):
        stages = []
        two_stage = balancing.two_stage
        monkeypatch.setattr(
            balancing, "two_stage", lambda data, switch: stages.append(switch) or two_stage(data, switch)
        )
        tuned = tune(images=data((30, 5)), policy="top", balance="two_stage", epochs=3, views=0)
        assert set(stages) == {2} and len(tuned.history["loss"]) == 3

    def test_weights_are_scikit_learns(self):
        from sklearn.utils.class_weight import compute_class_weight

        loaded = data((30, 5))
        labels = loaded.sources["train"].labels
        expected = compute_class_weight("balanced", classes=np.unique(labels), y=labels)
        assert list(training.class_weights(loaded).values()) == pytest.approx(expected)
        tuned = tune(images=loaded, policy="top", balance="weights", epochs=1)
        assert isinstance(tuned.model.loss, layers.ClassWeighted)
        assert tuned.model.loss.weights == pytest.approx(expected.tolist())


class TestOptions:
    def test_loss_rate_and_schedule(self):
        tuned = tune(policy="top", loss="bootstrapped_hard", find_lr=True, schedule="cosine", augment="light")
        assert isinstance(tuned.model.loss, layers.BootstrappedCrossentropy) and tuned.model.loss.kind == "hard"
        assert "range test" in str(tuned.plan) and "cosine" in str(tuned.plan)
        assert len(tuned.history["loss"]) == 2

    @pytest.mark.parametrize("given", ["Data", "arrays"])
    def test_the_modern_preset(self, given):
        """Its augmentation and mixing, of data that were loaded without them, too; and the plan says so."""
        (x, y), images = pictures(), data()
        done = tune(images=images if given == "Data" else {"x": x, "y": y}, policy="deep", preset="modern")
        assert done.plan.settings["augmentation"] == "RandAugment, erasing, MixUp or CutMix"
        assert np.isfinite(done.history["loss"]).all() and done.metrics["accuracy"] > 0
        task = Task(
            pretrained(), tuned._data(pretrained(), images, FineTuning(preset="modern")), FineTuning(), False, print
        )
        assert task.shown().mix is not None and "rand_augment" in dict(task.shown().augment.__self__.transforms)

    def test_the_seed_decides(self):
        """And not what was drawn before; what is drawn afterwards is as if nothing had happened."""
        model, images, found = pretrained(), data(), []
        for number, seed in enumerate((3, 3, 4)):
            keras.utils.set_random_seed(number)
            tuned = tune(model, images, policy="scratch", epochs=1, seed=seed)
            found.append((tuned.model.get_weights(), random.random(), np.random.random()))
            keras.utils.set_random_seed(number)
            assert found[-1][1:] == (random.random(), np.random.random())
        assert same(found[0][0], found[1][0]) and not same(found[0][0], found[2][0])

    @pytest.mark.slow
    def test_views_bound_the_epochs(self):
        assert tune(policy="top", epochs=30, views=100).plan.epochs == 5  # 24 images
        assert tune(policy="top", epochs=4, views=0).plan.epochs == 4

    @pytest.mark.parametrize(
        "options, message",
        [
            ({"policy": "best"}, "policy to be one of auto, linear"),
            ({"augment": "much"}, "augment to be one of"),
            ({"loss": "mse"}, "loss to be one of"),
            ({"balance": "yes"}, "balance to be one of"),
            ({"epoch": 3}, "no option 'epoch'. Did you mean 'epochs'"),
            ({"learning_rate": 0}, "learning_rate to be positive"),
            ({"views": -1}, "views to be at least 0"),
        ],
    )
    def test_bad_options(self, options, message):
        with pytest.raises(ValueError, match=message):
            tune(**options)

    @pytest.mark.parametrize(
        "model, message",
        [
            ("squeezenet1_1", "MODEL:WEIGHTS, for squeezenet1_1 alone has learned nothing: squeezenet1_1:imagenet"),
            ("squeezenet9", "Did you mean"),
            ("squeezenet1_1:nothing", "nothing"),
            (3, "functional or sequential Keras model"),
        ],
    )
    def test_bad_models(self, model, message):
        with pytest.raises(ValueError, match=message):
            tune(model)

    def test_images_that_the_model_does_not_take(self):
        with pytest.raises(ValueError, match="pretrained takes images of 16x16x3, the data are 32x32x3"):
            tune(images=data(size=32))

    def test_tf_data_cannot_be_chosen_on(self):
        tf = pytest.importorskip("tensorflow")
        x, y = pictures()
        stream = tf.data.Dataset.from_tensor_slices((x, y.astype("int32"))).batch(8)
        with pytest.raises(ValueError, match="policy other than 'auto' with tf.data"):
            tune(images=training.data.load(stream))
        assert tune(images=training.data.load(stream), policy="linear").plan.epochs == 0

    def test_a_choice_is_remembered(self, tmp_path):
        fine_tuning = importlib.import_module("convcraft.training.tuning.tune")

        class FakeRun:
            directory, chief = tmp_path, True

        fine_tuning._remember(FakeRun, Choice("deep", "measured"))
        assert fine_tuning._decided(FakeRun).policy == "deep"


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (6, 1), (2, 2)])
def test_maps_of_one_pixel_have_features(shape):
    """VGG's last map of 32x32 images is one pixel, which Keras's adaptive pooling refuses within `predict`."""
    inputs = keras.Input((32 * shape[0], 32 * shape[1], 3))
    x = keras.layers.AveragePooling2D(32, name="map")(inputs)
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))

    class Body:
        levels = {"map": x}

    Body.model = model
    images = draw((2, 32 * shape[0], 32 * shape[1], 3))
    found = keras.Model(inputs, frozen_features.tiled(Body, "map")).predict(images, verbose=0)
    means = images.reshape(2, shape[0], 32, shape[1], 32, 3).mean((2, 4))
    expected = means.mean((1, 2)) if 1 in shape else means.reshape(2, -1)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_shipped_weights_of_small_images_choose_by_themselves():
    """The default policy, on weights whose last map is one pixel."""
    x, y = pictures((12, 12), 32)
    images = training.data.load((x, y), validation=0, batch_size=8, channels=3)
    model = training.fine_tune("vgg_cifar:cifar10_jpeg", images, epochs=1, views=24, augment="none")
    assert model.model.predict(x[:2].astype("float32"), verbose=0).shape == (2, 2)


@pytest.mark.parametrize("shape", [(24, 40), (48, 48)])
@pytest.mark.parametrize("smoke", [False, True])
def test_files_of_one_size_get_images_of_it(shape, smoke, tmp_path):
    inputs = keras.Input((*shape, 3))
    outputs = keras.layers.Dense(4)(keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(inputs)))
    keras.Model(inputs, outputs).save(tmp_path / "m.keras")
    config = FineTuning(model=str(tmp_path / "m.keras"), data="digits", smoke=smoke)
    assert training.load_to_fine_tune(config).image_shape == (*shape, 3)


def test_the_size_suits_the_images(tmp_path):
    from PIL import Image

    for name, side in (("a", 100), ("b", 110)):
        (tmp_path / name).mkdir()
        for n in range(3):
            Image.fromarray(RNG.integers(0, 255, (side, side + 40, 3), "uint8")).save(tmp_path / name / f"{n}.png")
    assert training.suggest_size("squeezenet1_1:imagenet", str(tmp_path)) == 128  # 1.5 times, in steps of 32
    assert training.suggest_size("squeezenet1_1:imagenet", f"{tmp_path}@1/3") == 128, "a fold has the folder's images"
    assert training.suggest_size("squeezenet1_1:imagenet", "digits") == 224
