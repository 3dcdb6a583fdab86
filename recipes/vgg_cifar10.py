"""VGG on CIFAR-10: nothing but 3x3 convolutions and poolings, and what batch normalization changed.

Teaches    a plain stack of small kernels; normalization in place of the paper's start from a shallower net's weights
           (`--normalization none` goes back: 13 convolutions deep it may not learn at all)
Data       cifar10 (50,000 photographs, 32x32, of 10 classes; 5,000 of them for validation, 10,000 more to test), or
           where it is not at hand the embedded digits
Accuracy   85.61 % (n = 1, seed 0) at --width 0.35 on the 10,000 test images of CIFAR-10 (JPEG), whose pixels were
           recompressed at quality 75: not comparable with published errors. Training accuracy was 91.1 %. The original
           pixels, and full width: not measured yet
Time       44 min on 2 CPU cores that were shared with other work. 313 million multiply-adds an image; 39
           at --width 0.35
Command    convcraft train vgg_cifar10 --data cifar10    (measured: --data cifar10_jpeg --width 0.35 --epochs 24
           --schedule onecycle --precision mixed_bfloat16)
Differs    from the paper, which is on ImageNet: batch normalization, no hidden dense layer and no dropout, a rate ten
           times as high, batches of 128 in place of 256, shifts in place of crops at several scales, 30 epochs. Weight
           decay is decoupled: the paper's 5e-4 acts tenfold through a momentum of 0.9, so it is 5e-3 here
Not for    phones: 14.7 million weights at full width, where ResNet-20 has a quarter of a million
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
    weight_decay: float = 5e-3
    # factor of all channels: 1 is VGG-16's 64 to 512, for a GPU; 0.25 for a CPU
    width: float = 1.0
    # batch; none is the paper's, with --learning-rate 0.01
    normalization: str = "batch"
    # before the classifier; the paper's is 0.5, between dense layers that are not here
    dropout: float = 0.0
    # largest shift as a share of the image
    shift: float = 0.125
    # mirror left and right; never done to digits
    flip: bool = True


def data(config):
    augment = layers.RandomAffine(shift=config.shift, flip=config.flip and training.can_mirror(config.data))
    return training.load(config, augment=augment)


def model(config, images):
    design = zoo.Design(
        normalization=config.normalization, width=config.width, dropout=config.dropout, conv_init="he_normal"
    )
    return zoo.create("vgg_cifar", classes=images.class_names, input_shape=images.image_shape, design=design)


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
