"""One model, one data set, one set of options: what every policy of fine-tuning needs of them."""

import dataclasses
import os
import time
from typing import Any

import keras
import numpy as np

from convcraft.layers import BootstrappedCrossentropy, ClassWeighted, Model

from .. import balancing, data, distribute, lr_finder, optimize, presets
from ..restoring import unchanged
from . import bodies
from .bodies import Body
from .choices import Choice
from .frozen_features import Features, compute
from .linear import Linear, logistic, searched, support_vectors
from .options import FineTuning, augmentation
from .policies import Plan, frozen_normalization, grouped, prepare, with_head

LEAST_EPOCHS = 3
FROM_SCRATCH = 3.0  # times the rate: new weights have further to go


class Task:
    """One model, one data set, one set of options: what every policy needs of them.

    Attributes:
        images: the data.
        config: the options.
        mirror: whether a mirrored image means the same.
        jit: of `compile`.
        say: prints.
        body: the pretrained body.
        replicas: over how many devices a batch is split.
    """

    def __init__(self, source: Any, images: data.Data, config: FineTuning, jit: Any, say: Any):
        self.source = source
        self.images = images
        self.config = config
        self.jit = jit
        self.say = say
        self.mirror = config.mirror and presets.can_mirror(images.report.name)
        pretrained = config.policy != "scratch" and not config.smoke  # a smoke run downloads nothing
        self.body = bodies.find(
            source, images.image_shape, preprocessing=config.preprocessing or None, pretrained=pretrained
        )
        if not config.lean:
            self.body = dataclasses.replace(self.body, answers=None)
        self.balanced = config.balance != "none"
        self.replicas = distribute.replicas(distribute.strategy_of(self.body.model))

    def epochs(self, count: int, views: int | None = None) -> int:
        """Passes over so many images."""
        views = self.config.views if views is None else views
        if not views:
            return self.config.epochs
        return min(self.config.epochs, max(LEAST_EPOCHS, -(-views // count)))

    def shown(self, images: data.Data | None = None) -> data.Data:
        """The training images as an epoch shows them: augmented, and balanced where that is wanted."""
        images = self.images if images is None else images
        if images.augment is None and not images.streams and self.config.preset != "modern":
            images = dataclasses.replace(images, augment=augmentation(self.config.augment, self.mirror))
        kind = self.config.balance
        if kind == "two_stage":
            epochs = self.epochs(sum(images.counts["train"].values()))
            return balancing.two_stage(images, max(1, round(balancing.FIRST_STAGE * epochs)))
        return balancing.balance(images, kind) if kind in data.sampling.EPOCHS else images

    def loss(self) -> keras.losses.Loss:
        """As the options say."""
        made = presets.loss(self.config)
        if self.config.loss != "crossentropy":
            made = BootstrappedCrossentropy(kind="hard" if self.config.loss.endswith("hard") else "soft")
        if self.config.balance == "weights":
            made = ClassWeighted(made, list(balancing.class_weights(self.images).values()))
        return made

    def scratch(self) -> Body:
        """The body with new weights."""
        wanted = self.config.preprocessing or None
        return bodies.find(self.source, self.images.image_shape, preprocessing=wanted, pretrained=False)

    def build(self, choice: Choice) -> tuple[Model, Plan]:
        """The compiled model of a policy, and its plan."""
        policy, config = choice.policy, self.config
        body = self.scratch() if policy == "scratch" and config.policy != "scratch" else self.body
        trained = policy not in ("linear", "svm")
        linear, level = choice.linear, choice.level
        if linear is None and policy != "scratch" and not config.smoke:
            linear, level = self.solve(policy)
        model = with_head(body, self.images.class_names, linear, level)
        shown = self.shown() if trained else self.images
        feed = shown.feed("train", multiple_of=self.replicas)
        shows = feed.size if isinstance(feed, data.Feed) else sum(shown.counts["train"].values())
        epochs = self.epochs(shows) if trained else 0
        steps = epochs * feed.steps
        rate = self.base_rate(policy) * choice.rate
        groups = prepare(model, body, policy, rate)
        notes = list(body.said)
        if trained and config.find_lr:
            rate, said = self.rate(model, shown, groups)
            groups = prepare(model, body, policy, rate)
            notes.append(said)
        self.compile(model, groups, rate, max(1, steps), epochs)
        counts = {split: sum(number.values()) for split, number in self.images.counts.items()}
        plan = Plan(
            str(self.source) if isinstance(self.source, str | os.PathLike) else body.name,
            policy,
            choice.why,
            groups,
            counts,
            list(self.images.class_names),
            tuple(self.images.image_shape),
            epochs,
            steps,
            self.settings(trained, linear),
            self.notes(model, body, policy, notes, level),
            choice.seconds_per_view * steps * feed.batch_size if trained and choice.seconds_per_view else None,
            choice.measured,
        )
        return model, plan

    def base_rate(self, policy: str) -> float:
        """The rate that the groups' factors multiply."""
        return self.config.learning_rate * (FROM_SCRATCH if policy == "scratch" else 1)

    def machine(self, features: Features) -> tuple[Linear | None, str]:
        """The best support vector machine on one of the last three earlier layers, and that layer.

        (None, "") for a body of one resolution, which has none.
        """
        earlier = list(self.body.levels)[:-1][-3:]
        options: dict[str, Any] = {"balanced": self.balanced, "seed": self.config.seed}
        some = {key: searched(features, key, self.config.seed) for key in earlier}
        found = {key: support_vectors(some[key], key, **options) for key in earlier}
        # a class of one image leaves nothing to hold out: then the last of them
        level = max(reversed(found), key=lambda key: np.nan_to_num(found[key].accuracy), default="")
        if level and some[level] is not features:
            return support_vectors(features, level, strength=found[level].strength, **options), level
        return found.get(level), level

    def solve(self, policy: str) -> tuple[Linear, str]:
        """The classifier of frozen features, and the layer that it is on."""
        features = compute(self.body, self.images, mirror=self.mirror, levels=policy == "svm")
        if policy != "svm":
            return logistic(features, balanced=self.balanced, seed=self.config.seed), ""
        machine, level = self.machine(features)
        return machine or support_vectors(features, balanced=self.balanced, seed=self.config.seed), level

    def compile(self, model: keras.Model, groups: Any, rate: float, steps: int, epochs: int) -> None:
        """Compiles, after freezing."""
        # without the averaged weights of preset "modern", which would not follow the groups' rates
        config = dataclasses.replace(self.config, learning_rate=rate, epochs=max(1, epochs), preset="recipe")
        optimizer = grouped(optimize.optimizer(config, steps), model, groups)
        model.compile(optimizer, self.loss(), weighted_metrics=["accuracy"], jit_compile=self.jit)

    def rate(self, model: keras.Model, shown: data.Data, groups: Any) -> tuple[float, str]:
        """The base rate by a range test, with a sentence on it."""
        constant = dataclasses.replace(self.config, schedule="constant", preset="recipe")
        optimizer = grouped(optimize.optimizer(constant, 1), model, groups)
        found = lr_finder.find_lr(model, shown, self.loss(), optimizer, start=1e-6, stop=1.0, steps=60)
        rate = found.suggestions["valley"]
        return rate, f"rate {rate:.2g}: the valley of a range test from 1e-06 to 1 ({found!r})"

    def settings(self, trained: bool, linear: Linear | None) -> dict[str, str]:
        """What the plan says of the options."""
        config, said = self.config, {}
        mirrored = "and their mirror images" if self.mirror else "not mirrored"
        if linear is not None:
            said["begins"] = f"with a head solved on the training images {mirrored}"
            if np.isfinite(linear.accuracy):
                said["begins"] += f", {100 * linear.accuracy:.1f} % of them right when held out"
            if linear.outputs:
                names = self.body.names
                known = ", ".join(names[output] if names else str(output) for output in linear.outputs[:6])
                more = ", …" if len(linear.outputs) > 6 else ""
                said["leans on"] = f"what the pretrained classifier says of its classes {known}{more}"
        if trained:
            said["optimizer"] = f"{config.optimizer}, {config.schedule} schedule, weight decay {config.weight_decay:g}"
            modern = config.preset == "modern"  # of which rates by group leave out the cosine and averaged weights
            augment = "RandAugment, erasing, MixUp or CutMix" if modern else config.augment
            said["augmentation"] = "your tf.data's own" if self.images.streams else augment
            said["loss"] = config.loss
        if config.balance != "none":
            said["balance"] = config.balance
        return said

    def notes(self, model: keras.Model, body: Body, policy: str, found: list[str], level: str) -> list[str]:
        """What else the plan says."""
        head = f"replaced: {found[0]}" if body.head else found[0]
        notes = [f"input: {said}" if "images" in said else said for said in found[1:]]
        frozen = frozen_normalization(model)
        if frozen:
            notes.append(f"{frozen} batch normalizations keep their statistics, gains and offsets: inference mode")
        if level:
            notes.append(f"the classifier is on 3x3 tiles of the layer {level!r}; later layers are left out")
        imbalance = balancing.notice(self.images)
        if imbalance and not self.balanced:
            notes.append(f"imbalance: {imbalance}")
        if policy in ("linear", "svm"):
            notes.append("solved at once: augmentation, loss, epochs and rate do not apply")
        return [head, *notes]


def expected_seconds(model: keras.Model, images: data.Data, steps: int, few: int = 3) -> float | None:
    """How long so many steps will take, by a few; None where there are too few. The model is left as it was."""
    times: list[float] = []

    class Clock(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            times.append(time.perf_counter())

    feed = images.feed("train", multiple_of=distribute.replicas(distribute.strategy_of(model)))
    with unchanged(model):
        model.fit(
            feed.dataset(),
            steps_per_epoch=min(few + 1, feed.steps),
            epochs=min(-(-(few + 1) // feed.steps), max(1, steps // feed.steps)),
            verbose=0,
            shuffle=False,
            callbacks=[Clock()],
        )
    model.history = None
    spans = np.diff(times)
    return float(np.median(spans)) * steps if len(spans) else None
