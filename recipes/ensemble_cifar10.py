"""Several networks that vote: by separate trainings, or for the price of one, by snapshots along the way.

Teaches    what an average of probabilities gains over its members; snapshots at the ends of a cyclical learning rate
           (arXiv 1704.00109); one saved file that holds all members and is used as any other
Data       cifar10, or where it is not at hand the embedded digits
Accuracy   74.9 % (n = 1, seed 0) on the 10,000 test images of CIFAR-10 (JPEG), whose pixels were recompressed at
           quality 75, after 6 epochs. Its three snapshots have 63.0, 72.0 and 75.7 % of the validation images: so
           unequal, they gain nothing over the last. Longer cycles: not measured yet; docs/ensembles.md has others
Time       7 min on 2 CPU cores
Command    convcraft train ensemble_cifar10    (measured: --data cifar10_jpeg --epochs 6 --precision mixed_bfloat16)
Differs    from the paper: few epochs; a ResNet-20 with decoupled decay, as in `resnet20_cifar10`. With --preset modern
           the rate of snapshots falls along their cosines still, without the preset's warm-up
Not for    where answers must be quick: it costs what its members cost together
"""

from dataclasses import dataclass

import keras

from convcraft import layers, training, zoo


@dataclass
class Config(training.Common):
    data: str = "cifar10 or digits"
    epochs: int = 12
    batch_size: int = 128
    optimizer: str = "momentum"
    learning_rate: float = 0.1
    schedule: str = "cosine"
    weight_decay: float = 1e-3
    # how many networks
    members: int = 3
    # the ends of so many cosines of one training; else trainings of their own, each of all epochs and by any schedule
    snapshots: bool = True
    # largest shift as a share of the image
    shift: float = 0.125
    # mirror left and right; never for digits or text
    flip: bool = True


def data(config):
    flip = config.flip and training.can_mirror(config.data)
    return training.load(config, augment=layers.RandomAffine(shift=config.shift, flip=flip))


def model(config, images):
    return zoo.create("resnet20_cifar", classes=images.class_names, input_shape=images.image_shape)


def compiled(config, run, images, cycles=1):
    with run.scope():  # tf.distribute on several devices, nothing on one
        net = model(config, images)
        optimizer = training.optimizer(config, steps=run.steps(images))
        if cycles > 1:  # from the top again, as often
            steps = -(-run.steps(images) // cycles)
            restarts = keras.optimizers.schedules.CosineDecayRestarts(config.learning_rate, steps, t_mul=1.0)
            optimizer.learning_rate = restarts
        net.compile(
            optimizer=optimizer,
            loss=training.loss(config),
            weighted_metrics=["accuracy"],
            jit_compile=run.jit,
        )
    return net


def train(config, run):
    if config.members < 1:
        raise ValueError(f"Expected members to be at least 1; received {config.members}.")
    if config.snapshots and config.schedule != "cosine":
        raise ValueError(f"Expected schedule to be cosine with snapshots; received {config.schedule!r}.")
    images = data(config)
    if config.snapshots:
        cycles = min(config.members, run.epochs)
        keeper = training.Snapshots(run.epochs, cycles)
        net = run.fit(compiled(config, run, images, cycles), images, callbacks=[keeper])
        members = keeper.models(net) or [net]  # a time limit may come before the first
    else:
        members = []
        for number in range(config.members):
            part = run.part(f"member{number + 1}") if number else run
            keras.utils.set_random_seed(config.seed + number)
            members.append(part.fit(compiled(config, part, images), images))
    for number, member in enumerate(members, 1):  # on validation images: the test is for what is saved
        member.compile(loss=training.loss(config), weighted_metrics=["accuracy"], jit_compile=run.jit)
        measured = member.evaluate(images.val, verbose=0, return_dict=True)
        print(f"member {number}: validation accuracy {measured['accuracy']:.4f}", flush=True)
    return run.save(training.Ensemble(members))


if __name__ == "__main__":
    training.main(Config, train)
