"""Your own photographs: a pretrained network for a folder of class folders, in minutes.

Teaches    transfer: which layers to freeze, which to train slowly, and that this can be measured and not guessed; the
           plan that is printed before anything runs
Data       a folder with a folder of photographs for each class, 20 or more in each, where it is not given the
           embedded digits. Test images: a folder `test` or `val` beside `train`, else a tenth
Accuracy   87.8 ± 1.2 % (n = 5, seeds 0-4; 95 %) on 153 ants and bees, from SqueezeNet 1.1's ImageNet weights and 243
           training images; 81.8 ± 2.7 % from the package's weights of Tiny ImageNet-80, 77.3 ± 3.1 % from scratch
           (benchmarks/fine_tuning.py)
Time       one to six minutes a seed on 2 CPU cores, mostly beside other work
Command    convcraft train finetune_folder --data FOLDER    (or convcraft fine-tune MODEL:WEIGHTS FOLDER)
Differs    from usual practice: the new head is solved at once by logistic regression, then all layers are trained from
           there (Kumar et al. 2022, arXiv 2202.10054); batch normalization keeps what it has learned
Not for    more than some ten thousand images, which a recipe from new weights uses better
"""

from dataclasses import dataclass

from convcraft import training


@dataclass
class Config(training.FineTuning):
    data: str = "digits"
    # MODEL:WEIGHTS, a .keras file, or a run's directory; squeezenet1_1:imagenet knows more, and is downloaded
    model: str = "squeezenet1_1:tinyimagenet80"


def data(config):
    return training.load_to_fine_tune(config)  # at a size that suits the model, augmented as --augment says


def model(config, images):
    return config.model  # or any Keras model of images: keras.applications.MobileNetV2(input_shape=images.image_shape)


def train(config, run):
    images = data(config)
    return training.fine_tune(model(config, images), images, config=config, run=run).model


if __name__ == "__main__":
    training.main(Config, train)
