"""ResNet in ResNet on CIFAR-10: a stream that keeps what it has beside one that can forget.

Teaches    two streams, with and without shortcuts, that feed each other in every unit; it holds ResNet and a plain net
           as special cases
Data       cifar10 (50,000 photographs, 32x32, of 10 classes; 5,000 of them for validation, 10,000 more to test), or
           where it is not at hand the embedded digits
Accuracy   66.9 % (n = 1, seed 0) after 3 epochs at --width 0.25 on the 10,000 test images of CIFAR-10 (JPEG), whose
           pixels were recompressed at quality 75: cut short, it says that the recipe learns. A whole training: not
           measured yet
Time       7 min for these on 2 CPU cores that were shared with other work. 321 million multiply-adds an image; 80 at
           --width 0.25; 1.3 billion at --width 1
Command    convcraft train resnet_in_resnet_cifar10 --data cifar10    (measured: --data cifar10_jpeg --epochs 3
           --precision mixed_bfloat16 --width 0.25)
Differs    from the paper, of which we have the architecture by a public reimplementation only: half of its channels;
           rate, decay, batch, shifts and mirroring are those of the ResNets it compares itself with; 30 epochs.
           Weight decay is decoupled: ResNet's 1e-4 acts tenfold through a momentum of 0.9, so it is 1e-3 here
Not for    a first try: ResNet and Wide ResNet are simpler, and as good for what they cost
"""

from dataclasses import dataclass

from convcraft import layers, training, zoo


@dataclass
class Config(training.Common):
    data: str = "cifar10 or digits"
    epochs: int = 30
    batch_size: int = 128
    optimizer: str = "momentum"
    learning_rate: float = 0.1
    schedule: str = "step"
    weight_decay: float = 1e-3
    # factor of all channels: 1 is the paper's 48 to 192 in each stream, for a GPU; 0.25 for a CPU
    width: float = 0.5
    # largest shift as a share of the image
    shift: float = 0.125
    # mirror left and right; never done to digits
    flip: bool = True


def data(config):
    augment = layers.RandomAffine(shift=config.shift, flip=config.flip and training.can_mirror(config.data))
    return training.load(config, augment=augment)


def model(config, images):
    design = zoo.Design(width=config.width)
    return zoo.create("resnet_in_resnet", classes=images.class_names, input_shape=images.image_shape, design=design)


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
