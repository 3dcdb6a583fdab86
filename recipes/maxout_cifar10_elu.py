"""ELU convolutions and a maxout dense layer on CIFAR-10: the best pair of activations in a large comparison.

Teaches    activations chosen apart for convolutions and for dense layers; maxout, the largest of five linear maps, as
           an activation that is learned; filters bounded in norm
Data       cifar10 (50,000 photographs, 32x32, of 10 classes; 5,000 of them for validation, 10,000 more to test), or
           where it is not at hand the embedded digits
Accuracy   55.3 % (n = 1, seed 0) after 5 epochs at --width 0.25 on the 10,000 test images of CIFAR-10 (JPEG), whose
           pixels were recompressed at quality 75: cut short, it says that the recipe learns. A whole training: not
           measured yet
Time       3 min for these on 2 CPU cores that were shared with other work. 98 million multiply-adds an image; 27 at
           --width 0.25; 372 at --width 1
Command    convcraft train maxout_cifar10_elu --data cifar10    (measured: --data cifar10_jpeg --epochs 5 --precision
           mixed_bfloat16 --width 0.25)
Differs    from the maxout paper, whose network this is: ELU in place of maxout in the convolutions, as the comparison
           (Mishkin and others 2016, on ImageNet) finds best beside a maxout head; half of its channels; LeCun's first
           weights in them, standardized colours, shifts and mirroring; rate, schedule and 30 epochs are ours
Not for    phones: 8x8 kernels, and most weights in one dense layer
"""

from dataclasses import dataclass

from convcraft import layers, training, zoo


@dataclass
class Config(training.Common):
    data: str = "cifar10 or digits"
    epochs: int = 30
    batch_size: int = 128
    optimizer: str = "momentum"
    learning_rate: float = 0.01
    schedule: str = "linear"
    # of the convolutions; maxout is the paper's
    activation: str = "elu"
    # of the dense layer: maxout5 is the paper's, the largest of five
    head_activation: str = "maxout5"
    # factor of all channels: 1 is the paper's 96 and 192, for a GPU; 0.25 for a CPU
    width: float = 0.5
    # after each layer; on the image two fifths of that
    dropout: float = 0.5
    # largest shift as a share of the image
    shift: float = 0.125
    # mirror left and right; never done to digits
    flip: bool = True


def data(config):
    augment = layers.RandomAffine(shift=config.shift, flip=config.flip and training.can_mirror(config.data))
    return training.load(config, augment=augment)


def model(config, images):
    design = zoo.Design(
        activation=config.activation,
        head_activation=config.head_activation,
        conv_init="lecun_normal",  # He's is for ReLU: here the first logits would be in the hundreds
        dropout=config.dropout,
        width=config.width,
    )
    return zoo.create("maxout_cifar", classes=images.class_names, input_shape=images.image_shape, design=design)


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
    return run.fit(net, images)


if __name__ == "__main__":
    training.main(Config, train)
