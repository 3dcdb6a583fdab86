"""What Keras lacks: augmentation, activations, and the model class that trains them anywhere."""

from convcraft.lazy import attach

EXPORTS = {
    "BatchNormalization": "batch_normalization",
    "CeilMaxPooling2D": "ceil_max_pooling",
    "ClassNames": "class_names",
    "FancyPCA": "fancy_pca",
    "Maxout": "maxout",
    "Model": "model",
    "RReLU": "rrelu",
    "RandomAffine": "random_affine",
    "PadShortcut": "shortcut",
    "as_model": "model",
    "draws": None,
}

__getattr__, __dir__, __all__ = attach(__name__, EXPORTS)
