"""What a pretrained classifier already knows: found in models, chosen by what it says, used where it helps.

Oracles: the model's own outputs, scikit-learn's regression on the columns put together by hand, real photographs.
"""

import keras
import numpy as np
import pytest
from harness import draw

from convcraft import training, zoo
from convcraft.layers import ClassNames
from convcraft.training.tuning import bodies, frozen_features
from convcraft.training.tuning import linear as linear_heads

SIDE = 32
X = draw((4, SIDE, SIDE, 3), low=0, high=255)
kinds = keras.layers


def model(*layers):
    return keras.Sequential([keras.Input((SIDE, SIDE, 3)), kinds.Rescaling(1 / 255), *layers])


def found(net):
    return bodies.find(net, (SIDE, SIDE, 3))


class TestWhatAModelKnows:
    @pytest.mark.parametrize("bias", [True, False])
    def test_of_a_dense_layer(self, bias):
        net = model(kinds.Conv2D(6, 3), kinds.GlobalAveragePooling2D(), kinds.Dense(5, use_bias=bias))
        body = found(net)
        kernel, offset = body.answers
        np.testing.assert_allclose(
            body.model.predict(X, verbose=0) @ kernel + offset, net.predict(X, verbose=0), rtol=1e-4, atol=1e-5
        )

    def test_of_a_convolution_before_the_mean(self):
        net = model(kinds.Conv2D(6, 3), kinds.Conv2D(5, 1), kinds.GlobalAveragePooling2D(), kinds.Softmax())
        body = found(net)
        kernel, offset = body.answers
        logits = body.model.predict(X, verbose=0) @ kernel + offset
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(shares, net.predict(X, verbose=0), rtol=1e-4, atol=1e-5)

    def test_names_are_those_of_the_model(self):
        names = ["lemon", "pear"]
        net = model(kinds.Conv2D(6, 3), kinds.GlobalAveragePooling2D(), kinds.Dense(2), ClassNames(names))
        assert found(net).names == tuple(names)

    @pytest.mark.parametrize(
        "last",
        [
            [kinds.Conv2D(5, 3), kinds.GlobalAveragePooling2D(), kinds.Softmax()],  # 3x3: no matter of the mean
            [kinds.GlobalAveragePooling2D()],  # no classifier
        ],
    )
    def test_nothing_where_it_is_not_that_simple(self, last):
        assert found(model(kinds.Conv2D(6, 3), *last)).answers is None

    def test_diverged_weights_are_no_knowledge(self):
        net = model(kinds.Conv2D(6, 3), kinds.GlobalAveragePooling2D(), kinds.Dense(5))
        net.layers[-1].kernel.assign(np.full((6, 5), np.nan))
        assert found(net).answers is None


def known(n=40, features=60, outputs=30, seed=0):
    """Features, a classifier of `outputs` classes, and labels: which of its outputs 7 and 3 is larger."""
    rng = np.random.default_rng(seed)
    kernel = rng.normal(size=(features, outputs)).astype("float32")
    vectors = rng.normal(size=(n, features)).astype("float32")
    kernel[:, [7, 3]] *= 3  # they answer for what is in these images; the others hardly
    labels = (vectors @ kernel[:, 3] > vectors @ kernel[:, 7]).astype("int32")
    return vectors, labels, (kernel, np.zeros(outputs, "float32"))


class TestLeaning:
    def test_few_images_are_enough_where_the_pretraining_knows_the_classes(self):
        vectors, labels, answers = known()
        fresh = known(2000, seed=1)[0]
        fresh_labels = (fresh @ answers[0][:, 3] > fresh @ answers[0][:, 7]).astype("int32")
        right = {}
        for name, knows in (("with", answers), ("without", None)):
            linear = linear_heads.logistic(frozen_features.Features({"": vectors}, {}, labels, knows))
            right[name] = ((fresh @ linear.kernel + linear.bias).argmax(axis=1) == fresh_labels).mean()
            assert linear.outputs == ((7, 3) if knows else ())
        print(right)
        assert right["with"] > 0.95 > right["without"] + 0.1

    def test_what_says_nothing_of_the_classes_is_left_alone(self):
        rng = np.random.default_rng(0)
        vectors, _, answers = known(60)
        labels = (vectors[:, :4].sum(axis=1) + 0.1 * rng.normal(size=60) > 0).astype("int32")
        plain, leaning = (
            linear_heads.logistic(frozen_features.Features({"": vectors}, {}, labels, knows))
            for knows in (None, answers)
        )
        assert leaning.outputs == ()
        np.testing.assert_array_equal(leaning.kernel, plain.kernel)

    @pytest.mark.parametrize("classes", [2, 3])
    def test_the_solution_is_scikit_learns_with_the_answers_as_further_columns(self, classes):
        from sklearn.linear_model import LogisticRegression
        from sklearn.preprocessing import StandardScaler

        vectors, _, answers = known(80)
        outputs = (7, 3, 11)[:classes]
        labels = (vectors @ answers[0][:, list(outputs)]).argmax(axis=1).astype("int32")
        features = frozen_features.Features({"": vectors}, {"": vectors[::-1]}, labels, answers)
        made = LogisticRegression(C=0.01, max_iter=2000)
        kernel, bias = linear_heads._solve(features, "", np.arange(80), made, classes, 10.0, outputs)
        both = np.concatenate([vectors, vectors[::-1]])
        columns = [both, both @ answers[0][:, list(outputs)]]
        standard = np.concatenate(
            [f * StandardScaler().fit_transform(c) for f, c in zip((1, 10), columns, strict=True)], 1
        )
        oracle = LogisticRegression(C=0.01, max_iter=2000).fit(standard, np.concatenate([labels, labels]))
        wanted = oracle.predict_log_proba(standard)
        logits = both @ kernel + bias
        logits, wanted = (each - each.mean(axis=1, keepdims=True) for each in (logits, wanted))
        np.testing.assert_allclose(logits, wanted, atol=2e-3 * np.abs(wanted).max())

    def test_more_than_two_classes_and_one_that_nothing_answers_for(self):
        shares = np.array([[0.8, 0.1, 0.1], [0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1]])
        assert linear_heads.answering(shares, np.array([0, 0, 1, 2])) == (0, 1), "the third shares an output"
        assert linear_heads.answering(shares, np.zeros(4, "int32")) == (0,)


def test_imagenets_ants_and_bees(shared, unpacked):
    """On photographs of ants and bees ImageNet's outputs 310 (ant) and 309 (bee) are found, and help."""
    weights = shared / "weights/squeezenet_v1.1/squeezenet_v1.1_from_ncnn_fp16.npz"
    images = training.data.load(unpacked("hymenoptera"), size=192, validation=0, channels=3)
    tuned = training.fine_tune(f"squeezenet1_1:{weights}", images, policy="linear", verbose=False)
    print(tuned.plan, tuned.metrics)
    assert "leans on      what the pretrained classifier says of its classes 310, 309" in str(tuned.plan)
    assert tuned.metrics["accuracy"] > 0.89, "0.908 when it was written; 0.863 without"
    assert zoo.class_names(tuned.model) == ["ants", "bees"]
    without = training.fine_tune(f"squeezenet1_1:{weights}", images, policy="linear", lean=False, verbose=False)
    assert "leans on" not in str(without.plan) and without.metrics["accuracy"] < tuned.metrics["accuracy"]
