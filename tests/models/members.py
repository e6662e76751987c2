"""What is known of each network of the family, written down from the released architectures."""

from dataclasses import dataclass

from captum_xg import models


@dataclass(frozen=True)
class Member:
    """A regular network: parameters, convolutions and linear layers, and the smallest image to test it with."""

    name: str
    parameters: int
    weights: int
    biases: int
    side: int = 64

    def build(self, *, x: bool, **options):
        return getattr(models, ("x" if x else "") + self.name)(**options)


# The regular VGGs and AlexNet have as many parameters as torchvision documents. A Fixup-ResNet has 2 biases of its own
# and that of fc, and in each block 2m biases and a scale.
LARGE = (
    Member("alexnet", 61_100_840, 8, 8),
    Member("vgg11", 132_863_336, 11, 11, 32),
    Member("vgg13", 133_047_848, 13, 13, 32),
    Member("vgg16", 138_357_544, 16, 16, 32),
    Member("vgg19", 143_667_240, 19, 19, 32),
    Member("fixup_resnet18", 11_679_954, 21, 3 + 8 * 5, 32),
    Member("fixup_resnet34", 21_780_730, 37, 3 + 16 * 5, 32),
    Member("fixup_resnet50", 25_504_026, 54, 3 + 16 * 7, 32),
    Member("fixup_resnet101", 44_444_049, 105, 3 + 33 * 7, 32),
    Member("fixup_resnet152", 60_041_736, 156, 3 + 50 * 7, 32),
)
SMALL = (
    Member("small_alexnet", 72_890, 8, 8, 28),
    Member("small_vgg", 67_186, 8, 8, 28),
    Member("small_fixup_resnet", 97_974, 16, 3 + 6 * 5, 28),
)
ALL = LARGE + SMALL

# Names and shapes as they stand in the released files (github.com/visinf/fast-axiomatic-attribution, imagenet/models).
RELEASED_SHAPES = {
    "alexnet": {
        "features.0.weight": (64, 3, 11, 11),
        "features.3.weight": (192, 64, 5, 5),
        "features.6.weight": (384, 192, 3, 3),
        "features.8.weight": (256, 384, 3, 3),
        "features.10.weight": (256, 256, 3, 3),
        "features.10.bias": (256,),
        "classifier.1.weight": (4096, 9216),
        "classifier.4.weight": (4096, 4096),
        "classifier.6.weight": (1000, 4096),
        "classifier.6.bias": (1000,),
    },
    "vgg16": {
        "features.0.weight": (64, 3, 3, 3),
        "features.2.weight": (64, 64, 3, 3),
        "features.5.weight": (128, 64, 3, 3),
        "features.14.weight": (256, 256, 3, 3),
        "features.28.weight": (512, 512, 3, 3),
        "features.28.bias": (512,),
        "classifier.0.weight": (4096, 25088),
        "classifier.3.weight": (4096, 4096),
        "classifier.6.weight": (1000, 4096),
        "classifier.6.bias": (1000,),
    },
    "fixup_resnet50": {
        "conv1.weight": (64, 3, 7, 7),
        "bias1": (1,),
        "bias2": (1,),
        "layer1.0.bias1a": (1,),
        "layer1.0.conv1.weight": (64, 64, 1, 1),
        "layer1.0.bias1b": (1,),
        "layer1.0.bias2a": (1,),
        "layer1.0.conv2.weight": (64, 64, 3, 3),
        "layer1.0.bias2b": (1,),
        "layer1.0.bias3a": (1,),
        "layer1.0.conv3.weight": (256, 64, 1, 1),
        "layer1.0.scale": (1,),
        "layer1.0.bias3b": (1,),
        "layer1.0.downsample.weight": (256, 64, 1, 1),
        "layer2.0.conv2.weight": (128, 128, 3, 3),
        "layer2.3.conv1.weight": (128, 512, 1, 1),
        "layer3.5.conv3.weight": (1024, 256, 1, 1),
        "layer4.0.downsample.weight": (2048, 1024, 1, 1),
        "layer4.2.bias3b": (1,),
        "fc.weight": (1000, 2048),
        "fc.bias": (1000,),
    },
    "fixup_resnet18": {
        "layer1.0.conv1.weight": (64, 64, 3, 3),
        "layer1.1.bias2b": (1,),
        "layer2.0.downsample.weight": (128, 64, 1, 1),
        "layer4.1.conv2.weight": (512, 512, 3, 3),
        "layer4.1.scale": (1,),
        "fc.weight": (1000, 512),
    },
}


def is_constant(name):
    """Whether a parameter of that name is what an X-DNN does without."""
    last = name.rsplit(".", maxsplit=1)[-1]
    return last.startswith("bias") or last == "scale"
