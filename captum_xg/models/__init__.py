"""The models of the paper, regular and as X-DNNs, small variants of them, and their weights.

A name with x is the X-DNN of the name without: the same network without biases. Parameter names and shapes are those of
the checkpoints that the authors released, which :func:`load_checkpoint` reads.
"""

# The networks of Hesse et al. 2021
from captum_xg.models.alexnet import alexnet, xalexnet

# Restored images
from captum_xg.models.denoiser import DenoisingUNet, DnCNN, dncnn_small, unet_small, xdncnn_small, xunet_small
from captum_xg.models.fixup_resnet import (
    FixupResNet,
    fixup_resnet18,
    fixup_resnet34,
    fixup_resnet50,
    fixup_resnet101,
    fixup_resnet152,
    xfixup_resnet18,
    xfixup_resnet34,
    xfixup_resnet50,
    xfixup_resnet101,
    xfixup_resnet152,
)

# Graphs
from captum_xg.models.graph import GIN, Graphs, gin, padded_graphs, xgin

# Small ones, with weights for Fashion-MNIST
from captum_xg.models.small import (
    small_alexnet,
    small_fixup_resnet,
    small_vgg,
    xsmall_alexnet,
    xsmall_fixup_resnet,
    xsmall_vgg,
)
from captum_xg.models.small_weights import denoiser_record, small_record

# Texts
from captum_xg.models.text import (
    TextCNN,
    TextTransformer,
    text_cnn,
    text_transformer,
    xtext_cnn,
    xtext_transformer,
)
from captum_xg.models.vgg import vgg11, vgg13, vgg16, vgg19, xvgg11, xvgg13, xvgg16, xvgg19

# Images in patches
from captum_xg.models.vision_transformer import VisionTransformer, vit_small, xvit_small

# Weights
from captum_xg.models.weights import RELEASED, LoadedCheckpoint, ReleasedWeights, load_checkpoint

__all__ = [
    "GIN",
    "RELEASED",
    "DenoisingUNet",
    "DnCNN",
    "FixupResNet",
    "Graphs",
    "LoadedCheckpoint",
    "ReleasedWeights",
    "TextCNN",
    "TextTransformer",
    "VisionTransformer",
    "alexnet",
    "denoiser_record",
    "dncnn_small",
    "fixup_resnet18",
    "fixup_resnet34",
    "fixup_resnet50",
    "fixup_resnet101",
    "fixup_resnet152",
    "gin",
    "load_checkpoint",
    "padded_graphs",
    "small_alexnet",
    "small_fixup_resnet",
    "small_record",
    "small_vgg",
    "text_cnn",
    "text_transformer",
    "unet_small",
    "vgg11",
    "vgg13",
    "vgg16",
    "vgg19",
    "vit_small",
    "xalexnet",
    "xdncnn_small",
    "xfixup_resnet18",
    "xfixup_resnet34",
    "xfixup_resnet50",
    "xfixup_resnet101",
    "xfixup_resnet152",
    "xgin",
    "xsmall_alexnet",
    "xsmall_fixup_resnet",
    "xsmall_vgg",
    "xtext_cnn",
    "xtext_transformer",
    "xunet_small",
    "xvgg11",
    "xvgg13",
    "xvgg16",
    "xvgg19",
    "xvit_small",
]
