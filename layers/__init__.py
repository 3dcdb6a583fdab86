"""What Keras lacks: augmentation, activations, and the model class that trains them anywhere."""

from convcraft.lazy import attach

from .keras_names import tell_keras_when_it_comes

EXPORTS = {
    "activation": "activations",
    "activation_names": "activations",
    "as_model": "model",
    "AuxiliaryClassifier": "auxiliary_classifier",
    "BatchNormalization": "batch_normalization",
    "BilinearUpsampling2D": "upsampling",
    "BootstrappedCrossentropy": "bootstrapped_crossentropy",
    "CeilMaxPooling2D": "ceil_max_pooling",
    "ClassNames": "class_names",
    "ClassWeighted": "class_weighted",
    "CompetitiveConv2D": "competitive_conv2d",
    "ConcatDownsample": "concat_downsample",
    "CropLike": "upsampling",
    "CyclicalLR": "schedules",
    "CyclicSGD": "cyclic_sgd",
    "DepthToSpace": "upsampling",
    "draws": None,
    "DropPath": "drop_path",
    "FancyPCA": "fancy_pca",
    "FractalJoin": "fractal_join",
    "FractalPath": "fractal_join",
    "Freezable": "freezable",
    "FreezeDropPath": "freeze_drop_path",
    "GroupedConv2D": "grouped_conv",
    "GroupedRates": "grouped_rates",
    "HSVJitter": "hsv_jitter",
    "initialize": "initialization",
    "LocalResponseNormalization": "local_response_normalization",
    "lsuv": "layer_sequential",
    "MaxNorm": "max_norm",
    "Maxout": "maxout",
    "MixUpCutMix": "mixing",
    "Model": "model",
    "OneCycle": "schedules",
    "OneCycleMomentum": "schedules",
    "PadShortcut": "shortcut",
    "PReLU": "prelu",
    "RandomAffine": "random_affine",
    "RandomResizedCrop": "random_resized_crop",
    "RandomTransform": "random_transform",
    "RReLU": "rrelu",
    "SameAveragePooling2D": "same_average_pooling",
    "SlidingDense": "sliding_dense",
    "Squeeze": "squeeze",
    "Standardize": "standardize",
    "Whitening": "whitening",
}

__getattr__, __dir__, __all__ = attach(__name__, EXPORTS)

tell_keras_when_it_comes()  # names wherever it takes a string, and classes for its load_model
