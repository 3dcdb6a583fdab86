"""SqueezeNet 1.1 on small natural photographs: pretraining that two CPU cores can bear.

Teaches    how to make weights worth fine-tuning: batch normalization where the paper had none, one cycle of the
           learning rate, a little label smoothing; mirroring and small shifts are all the augmentation a net of
           this size wants in so few epochs
Data       tinyimagenet80 (80 of Tiny ImageNet's classes, 64x64: 36,000 photographs to train on, 4,000 for
           validation, 4,000 more to test), or where it is not at hand the embedded digits
Accuracy   47.4 % (n = 1, seed 0; 45.9 to 49.0) on the 4,000 test images
Time       94 min on 2 CPU cores that were shared with much other work
Command    convcraft train squeezenet_tinyimagenet --data tinyimagenet80
Differs    from the paper: batch normalization, 64x64 images, 80 classes, one cycle in place of a line, no dropout
Not for    the last percent: resnet18_tinyimagenet is better, with six times the multiply-adds
"""

from dataclasses import dataclass

from convcraft import layers, training, zoo


@dataclass
class Config(training.Common):
    data: str = "tinyimagenet80 or digits"
    image_size: int = 64
    epochs: int = 24
    batch_size: int = 128
    optimizer: str = "nesterov"
    learning_rate: float = 0.1
    schedule: str = "onecycle"
    weight_decay: float = 5e-3  # decoupled: as L2's 5e-4 under a momentum of 0.9
    # share of each label that is spread over all classes
    label_smoothing: float = 0.1
    # of every convolution: batch, or none as in the paper
    normalization: str = "batch"
    # of the features before the head; the paper's is 0.5
    dropout: float = 0.0
    # largest shift as a share of the image
    shift: float = 0.0625
    # mirror left and right; never for digits or text
    flip: bool = True


def data(config):
    flip = config.flip and training.can_mirror(config.data)
    return training.load(config, augment=layers.RandomAffine(shift=config.shift, flip=flip))


def model(config, images):
    design = zoo.Design(normalization=config.normalization, dropout=config.dropout)
    return zoo.create("squeezenet1_1", classes=images.class_names, input_shape=images.image_shape, design=design)


def train(config, run):
    images = data(config)
    with run.scope():  # tf.distribute on several devices, nothing on one
        net = model(config, images)
        net.compile(
            optimizer=training.optimizer(config, steps=run.steps(images)),
            loss=training.loss(config, config.label_smoothing),
            weighted_metrics=["accuracy"],
            jit_compile=run.jit,
        )
    return run.fit(net, images)  # model.fit with progress, checkpoints, and the place where it stopped


if __name__ == "__main__":
    training.main(Config, train)
