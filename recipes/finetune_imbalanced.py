"""Classes of unequal size: a pretrained network that does not forget the rare ones.

Teaches    why accuracy misleads where one class is most of the images, and the remedies, each by its name: rare images
           shown more often (oversample) and as other crops (crops), frequent ones less often (undersample), equal
           shares of every batch (batches), or of those of a second stage (two_stage), or more weight in the loss
           (weights); Wei's tips, ChaLearn 2015
Data       a folder of class folders of unequal size (measured: 4,886 crops of blood cells, 11.5 : 1), else the embedded
           digits
Accuracy   100 % of all and of each class (n = 1, seed 0; 99.2 to 100) on 489 crops of blood cells, 36 and 37 of them
           of the rare classes, from 4,397: frozen features all but solve it without a remedy, too
           (docs/fine-tuning.md). What the remedies gain where it is harder: docs/imbalance.md
Time       78 s on 2 CPU cores
Command    convcraft train finetune_imbalanced --data FOLDER    (measured: --data bccd)
Differs    from finetune_folder: small classes are shown as often as the largest; the balanced accuracy is printed
Not for    classes of about the same size, where nothing needs a remedy
"""

from dataclasses import dataclass

from convcraft import training


@dataclass
class Config(training.FineTuning):
    data: str = "bccd or digits"
    model: str = "squeezenet1_1:tinyimagenet80"
    # oversample, crops, undersample, batches, weights, two_stage, or none to see what happens without
    balance: str = "oversample"


def data(config):
    return training.load_to_fine_tune(config)


def model(config, images):
    return config.model


def train(config, run):
    images = data(config)
    sizes = ", ".join(f"{name} {number}" for name, number in images.counts["train"].items())
    print(f"Training images: {sizes}.")
    tuned = training.fine_tune(model(config, images), images, config=config, run=run)
    found = training.measure(tuned.model, images)
    print(f"Balanced accuracy {100 * found['balanced_accuracy']:.2f} %, accuracy {100 * found['accuracy']:.2f} %.")
    return tuned.model


if __name__ == "__main__":
    training.main(Config, train)
