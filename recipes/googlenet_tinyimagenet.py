"""GoogLeNet on Tiny ImageNet-80: kernels of several sizes side by side, and two classifiers on the way.

Teaches    auxiliary classifiers, whose losses count 0.3 each in training and which are gone at inference
           (`--auxiliary 0` trains without); inception modules
Data       tinyimagenet80 (photographs, 64x64, of 80 of Tiny ImageNet's classes), or where it is not at hand the
           embedded digits
Accuracy   2.9 % (n = 1, seed 0) after 1 epoch at --width 0.25 on the 4,000 test images: cut short, it is little above
           chance. A whole training: not measured yet
Time       3 min for these on 2 CPU cores that were shared with other work. 139 million multiply-adds an image; 517 at
           --width 1
Command    convcraft train googlenet_tinyimagenet --data tinyimagenet80    (measured: --data tinyimagenet80 --epochs 1
           --width 0.25)
Differs    from the paper, whose images are 224x224: a stem of stride 1, so that 64 pixels end as 4; half of its
           channels; shifts in place of crops of all sizes; 20 epochs of momentum at 0.01 (Caffe's settings, as are
           batches of 32), where the paper has averaged weights and asynchronous training. Weight decay is decoupled:
           Caffe's 2e-4 acts tenfold through a momentum of 0.9, so it is 2e-3 here
Not for    --normalization batch together with high hopes for the auxiliary classifiers: they help weak gradients only
"""

from dataclasses import dataclass

from convcraft import layers, training, zoo


@dataclass
class Config(training.Common):
    data: str = "tinyimagenet80 or digits"
    image_size: int = 64
    epochs: int = 20
    batch_size: int = 32
    optimizer: str = "momentum"
    learning_rate: float = 0.01
    schedule: str = "linear"
    weight_decay: float = 2e-3
    # weight of each auxiliary classifier's loss; 0 for none of them
    auxiliary: float = 0.3
    # lrn_caffe is the paper's, in two places; batch, after every convolution, learns faster
    normalization: str = "lrn_caffe"
    # factor of all channels: 1 is the paper's, for a GPU
    width: float = 0.5
    # largest shift as a share of the image
    shift: float = 0.125
    # mirror left and right; never done to digits
    flip: bool = True


def data(config):
    augment = layers.RandomAffine(shift=config.shift, flip=config.flip and training.can_mirror(config.data))
    return training.load(config, augment=augment)


def model(config, images):
    return zoo.create(
        "googlenet",
        classes=images.class_names,
        input_shape=images.image_shape,
        auxiliary=config.auxiliary,
        design=zoo.Design(normalization=config.normalization, width=config.width, stem_stride=1),
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
    return run.fit(net, images)


if __name__ == "__main__":
    training.main(Config, train)
