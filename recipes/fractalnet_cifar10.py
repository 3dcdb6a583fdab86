"""FractalNet on CIFAR-10: twenty layers without a residual, by drop-path, local and global.

Teaches    joins by means, inputs of which can be dropped; global drop-path, half of the batches on one column alone,
           which makes each column a net of its own (`zoo.extract_column`, `zoo.anytime`) and costs less time, for
           dropped columns are not computed; dropout that grows with depth
Data       cifar10 (50,000 photographs, 32x32, of 10 classes; 5,000 of them for validation, 10,000 more to test), or
           where it is not at hand the embedded digits
Accuracy   83.08 % (n = 1, seed 0) on the 10,000 test images of CIFAR-10 (JPEG), whose pixels were recompressed at
           quality 75, after 20 epochs; 66.88 % with dropout, columns alone and rate as below in Config, by
           --data cifar10_jpeg --epochs 20 --schedule cosine --precision mixed_bfloat16, where the training images
           stayed at 62 %. Which of the changes helped most was not measured
Time       1 h 8 min on two cores, shared with other work. 54 million multiply-adds an image; 845 at --width 1
Command    convcraft train fractalnet_cifar10 --data cifar10
           (measured: --data cifar10_jpeg --epochs 20 --dropout 0 --global-drop-path 0.25 --learning-rate 0.1
           --schedule onecycle --precision mixed_bfloat16)
Differs    from the paper: a quarter of its channels, as in its experiment on depth; 30 epochs in place of 400, and a
           rate that falls to a tenth twice, at 1/2 and 3/4, in place of four times. The paper has 38.6 million
           parameters at full width, its description 33.7, and so has this
Not for    a quick result: nets with shortcuts learn faster
"""

from dataclasses import dataclass

from convcraft import layers, training, zoo


@dataclass
class Config(training.Common):
    data: str = "cifar10 or digits"
    epochs: int = 30
    batch_size: int = 100
    optimizer: str = "momentum"
    learning_rate: float = 0.02
    schedule: str = "step"
    # factor of all channels: 1 is the paper's 64 to 512, for a GPU
    width: float = 0.25
    # of a block: 3 for 20 layers, 4 for 40
    columns: int = 3
    # local: the share of the joins' inputs that is dropped
    drop_path: float = 0.15
    # share of the batches that train a single column
    global_drop_path: float = 0.5
    # in the last block; it grows from 0 in the first
    dropout: float = 0.4
    # largest shift as a share of the image; the paper's is 4 of 32 pixels
    shift: float = 0.125
    # mirror left and right; never done to digits
    flip: bool = True


def data(config):
    flip = config.flip and training.can_mirror(config.data)
    return training.load(config, augment=layers.RandomAffine(shift=config.shift, flip=flip, fill_mode="reflect"))


def model(config, images):
    names = {3: "fractalnet20", 4: "fractalnet40"}
    if config.columns not in names:
        raise ValueError(f"Expected columns to be 3 or 4; received {config.columns}.")
    return zoo.create(
        names[config.columns],
        classes=images.class_names,
        input_shape=images.image_shape,
        global_drop_path=config.global_drop_path,
        design=zoo.Design(width=config.width, drop_path=config.drop_path, dropout=config.dropout),
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
