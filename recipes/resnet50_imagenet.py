"""ResNet-50 on ImageNet: full size, on as many GPUs as there are.

Teaches    training at 224 pixels: crops of random place, size and shape, and mirroring; `tf.distribute` by one option;
           data in class folders or in TensorFlow Datasets
Data       imagenet2012: `--data FOLDER` with train/CLASS/*.JPEG and val/CLASS/*.JPEG, or `--data tfds:imagenet2012` (it
           needs `pip install tensorflow-datasets array-record`, and the set prepared in the format array_record).
           Where neither is at hand the embedded digits, 32x32
Accuracy   not measured: we have no ImageNet. torchvision publishes 76.16 % for a net of this shape
Time       not measured. 4.1 billion multiply-adds an image
Command    convcraft train resnet50_imagenet --data FOLDER --strategy mirrored
Differs    from the paper: strides in the 3x3 convolutions; 90 epochs along a cosine in place of 120 in three steps;
           each block starts as its shortcut; no change of colours. Crops are cut from the 224 pixels around an image's
           centre, and enlarged. Weight decay is decoupled: the paper's 1e-4 acts tenfold through a momentum of 0.9, so
           it is 1e-3 here
Not for    a few thousand photographs: fine-tune a net that has seen millions
"""

import dataclasses
from dataclasses import dataclass

from convcraft import layers, training, zoo


@dataclass
class Config(training.Common):
    data: str = "imagenet2012 or tfds:imagenet2012 or digits"
    # height and width in pixels; 0 for 224, and for the digits' 32
    image_size: int = 0
    epochs: int = 90
    batch_size: int = 256
    optimizer: str = "momentum"
    learning_rate: float = 0.1  # of the paper, for 256 images; for n times as many take n times as much
    schedule: str = "cosine"
    weight_decay: float = 1e-3
    # share of each label that is spread over all classes; the paper has none, today's practice 0.1
    label_smoothing: float = 0.0
    # the smallest crop, as a share of the image's area
    smallest_crop: float = 0.08
    # mirror left and right; never done to digits
    flip: bool = True


def data(config):
    size = config.image_size or (32 if config.data.startswith("digits") else 224)
    flip = config.flip and training.can_mirror(config.data)
    crop = layers.RandomResizedCrop(area=(config.smallest_crop, 1.0), flip=flip)
    return training.load(dataclasses.replace(config, image_size=size), augment=crop)


def model(config, images):
    return zoo.create("resnet50", classes=images.class_names, input_shape=images.image_shape, zero_gamma=True)


def train(config, run):
    images = data(config)
    with run.scope():  # tf.distribute on several devices, nothing on one
        net = model(config, images)
        net.compile(
            optimizer=training.optimizer(config, steps=run.steps(images)),
            loss=training.loss(config, label_smoothing=config.label_smoothing),
            weighted_metrics=["accuracy"],
            jit_compile=run.jit,
        )
    return run.fit(net, images)


if __name__ == "__main__":
    training.main(Config, train)
