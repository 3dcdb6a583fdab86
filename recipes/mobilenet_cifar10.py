"""MobileNet on CIFAR-10: each 3x3 convolution split into one kernel a channel, then 1x1 kernels.

Teaches    depthwise separable convolutions, a ninth of the work of full ones; the width multiplier
Data       cifar10 (50,000 photographs, 32x32, of 10 classes; 5,000 of them for validation, 10,000 more to test), or
           where it is not at hand the embedded digits
Accuracy   47.3 % (n = 1, seed 0) after 4 epochs at --width 0.5 on the 10,000 test images of CIFAR-10 (JPEG), whose
           pixels were recompressed at quality 75: cut short, it says that the recipe learns. A whole training: not
           measured yet
Time       13 min for these on 2 CPU cores that were shared with other work. 176 million multiply-adds an image; 45 at
           --width 0.5; 12 at --width 0.25
Command    convcraft train mobilenet_cifar10 --data cifar10    (measured: --data cifar10_jpeg --epochs 4 --width 0.5)
Differs    from the paper, which is on ImageNet: the stem and the first stage keep the resolution; 30 epochs; RMSprop at
           0.001 with a rate that falls to a hundredth (the authors' 0.045 is for an epsilon of 1; Keras's is 1e-7).
           No weight decay: the paper has little or none on the depthwise kernels, which are not told apart here
Not for    speed on a CPU in training: depthwise convolutions count few multiply-adds and still take their time
"""

from dataclasses import dataclass

from convcraft import layers, training, zoo


@dataclass
class Config(training.Common):
    data: str = "cifar10 or digits"
    epochs: int = 30
    batch_size: int = 128
    optimizer: str = "rmsprop"
    learning_rate: float = 0.001
    schedule: str = "exponential"
    # the paper's width multiplier: 1, 0.75, 0.5 or 0.25; 0.5 and less for a CPU
    width: float = 1.0
    # largest shift as a share of the image
    shift: float = 0.125
    # mirror left and right; never done to digits
    flip: bool = True


def data(config):
    augment = layers.RandomAffine(shift=config.shift, flip=config.flip and training.can_mirror(config.data))
    return training.load(config, augment=augment)


def model(config, images):
    design = zoo.Design(width=config.width)
    return zoo.create("mobilenet_v1_cifar", classes=images.class_names, input_shape=images.image_shape, design=design)


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
