"""FractalNet with freeze-drop-path on CIFAR-10: shallow branches are frozen where drop-path would drop them.

Teaches    freeze-drop-path: each join trains one of its branches a batch, keeps what the shallower give and drops the
           deeper, so that each learns to correct those before it; in the first two blocks what is not trained is
           not even computed (`layers.Model`; the other joins would make too many combinations, and mask)
Data       cifar10 (50,000 photographs, 32x32, of 10 classes; 5,000 of them for validation, 10,000 more to test), or
           where it is not at hand the embedded digits
Accuracy   18.0 % (n = 1, seed 0) after 2 epochs on the 10,000 test images of CIFAR-10 (JPEG), whose pixels were
           recompressed at quality 75: cut short, it is little above chance. A whole training: not measured yet
Time       8 min for these on 2 CPU cores that were shared with other work. 54 million multiply-adds an image; 845 at
           --width 1. In the first epoch, each of up to 36 choices of branches compiles a step of its own
Command    convcraft train fractalnet_cifar10_freeze --data cifar10    (measured: --data cifar10_jpeg --epochs 2
           --precision mixed_bfloat16)
Differs    from the paper (Smith, Topin 2016), whose text and results we could not open, and whose released code has
           freeze-drop-path in SBN and TSN only (`sbn_cifar10`, `tsn_cifar10`): the joins of FractalNet-20 with a
           quarter of its channels; 10 epochs in place of 50, a rate that falls twice in place of three times. Its
           weight decay of 1e-4 acts tenfold through a momentum of 0.9: decoupled, it is 1e-3
Not for    accuracy: it is a study of joins. `fractalnet_cifar10` is its twin with drop-path
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
    # how often each branch is trained: square (the deepest most), uniform or reverse
    freeze: str = "square"
    # factor of all channels: 1 is FractalNet's 64 to 512, for a GPU
    width: float = 0.25
    # in the last block; it grows from 0 in the first
    dropout: float = 0.4
    # mirror left and right, the paper's only augmentation; never done to digits
    flip: bool = True


def data(config):
    return training.load(config, augment=layers.RandomAffine(flip=config.flip and training.can_mirror(config.data)))


def model(config, images):
    design = zoo.Design(width=config.width, freeze=config.freeze, dropout=config.dropout)
    return zoo.create("fractalnet20", classes=images.class_names, input_shape=images.image_shape, design=design)


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
