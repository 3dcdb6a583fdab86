"""Taylor Series Network on CIFAR-10: branches to the first, second and third power, as in a series.

Teaches    multiplication as a join: deeper branches enter as powers. Freeze-drop-path trains x, then what y^2 adds to
           it; with `--freeze none`, x, y^2 and z^3 are joined by their mean
Data       cifar10 (50,000 photographs, 32x32, of 10 classes; 5,000 of them for validation, 10,000 more to test), or
           where it is not at hand the embedded digits
Accuracy   44.7 % (n = 1, seed 0) after 1 epoch at --entry 64 on the 10,000 test images of CIFAR-10 (JPEG), whose
           pixels were recompressed at quality 75: cut short, it says that the recipe learns. A whole training: not
           measured yet. The paper calls its results preliminary; we could not open them
Time       3 min for these on 2 CPU cores that were shared with other work. 191 million multiply-adds an image; 38 at
           --entry 64; 750 at --width 0.25; 11.8 billion at --width 1, of which 9.7 are the block at full resolution
Command    convcraft train tsn_cifar10 --data cifar10    (measured: --data cifar10_jpeg --epochs 1 --precision
           mixed_bfloat16 --entry 64)
Differs    from the released code: an eighth of its channels; 10 epochs in place of 50, a rate that falls at 1/2 and 3/4
           in place of 1/2, 3/4 and 7/8; colours standardized in place of a mean image taken off; normalization has
           scale and offset. Weight decay is decoupled and spares biases: the paper's 1e-4 acts tenfold through a
           momentum of 0.9, so it is 1e-3 here
Not for    a high rate: powers blow up what is already large
"""

from dataclasses import dataclass

from convcraft import layers, training, zoo


@dataclass
class Config(training.Common):
    data: str = "cifar10 or digits"
    epochs: int = 10
    batch_size: int = 25
    optimizer: str = "momentum"
    learning_rate: float = 0.02
    schedule: str = "step"
    weight_decay: float = 1e-3
    # how often each branch is trained: square (1:4), uniform (1:1) or reverse (4:1); none: all, joined as a mean
    freeze: str = "square"
    # factor of all channels: 1 is the paper's 64 to 512, for a GPU with time; 0.25 to 0.5 for another
    width: float = 0.125
    # channels of the block at full resolution, before the factor: 512 is the paper's, 64 a fraction of its work
    entry: int = 512
    # of the joins' inputs, in training
    drop_path: float = 0.15
    # where the paper has most; in its other blocks less
    dropout: float = 0.3
    # mirror left and right, the paper's only augmentation; never done to digits
    flip: bool = True


def data(config):
    return training.load(config, augment=layers.RandomAffine(flip=config.flip and training.can_mirror(config.data)))


def model(config, images):
    design = zoo.Design(
        freeze=None if config.freeze == "none" else config.freeze,
        width=config.width,
        drop_path=config.drop_path,
        dropout=config.dropout,
    )
    return zoo.create(
        "tsn", classes=images.class_names, input_shape=images.image_shape, design=design, entry=config.entry
    )


def train(config, run):
    images = data(config)
    with run.scope():  # tf.distribute on several devices, nothing on one
        net = model(config, images)
        net.compile(
            optimizer=training.optimizer(config, steps=run.steps(images)),
            loss=training.loss(config),
            weighted_metrics=["accuracy"],
            jit_compile=run.jit,
        )
    # it predicts with all paths and trains with some: batch normalization is measured for the whole
    return run.fit(net, images, callbacks=[training.PreciseNormalization(images)])


if __name__ == "__main__":
    training.main(Config, train)
