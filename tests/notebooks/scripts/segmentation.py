"""Which pixels make a class of a segmentation: scores summed over the pixels that are predicted as each class."""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from captum.attr import IntegratedGradients, LayerGradCam, LayerIntegratedGradients
from sklearn.datasets import load_sample_image
from torch import nn
from torchvision import transforms


def block(n_in, n_out, stride):
    conv = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
    return nn.Sequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(n_out), relu=nn.ReLU(inplace=True)))


class FCN(nn.Module):
    def __init__(self, classes=21):
        super().__init__()
        self.backbone = nn.Sequential(
            OrderedDict(layer1=block(3, 8, 2), layer2=block(8, 16, 2), layer3=block(16, 16, 1))
        )
        self.classifier = nn.Sequential(block(16, 16, 1), nn.Dropout(0.1), nn.Conv2d(16, classes, 1))

    def forward(self, x):
        out = self.classifier(self.backbone(x))
        return OrderedDict(out=F.interpolate(out, x.shape[-2:], mode="bilinear", align_corners=False))


preprocessing = transforms.Compose([transforms.ToTensor(), transforms.Resize(24)])
normalize = transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
normalized_inp = normalize(preprocessing(load_sample_image("china.jpg").copy())).unsqueeze(0)
normalized_inp.requires_grad = True

torch.manual_seed(0)
fcn = FCN()
for _ in range(20):  # statistics of the batch normalisation
    fcn(normalized_inp.detach() + 0.1 * torch.randn(4, *normalized_inp.shape[1:]))
fcn = fcn.eval()

out = fcn(normalized_inp)["out"]
out_max = torch.argmax(out, dim=1, keepdim=True)
largest = int(out_max.flatten().mode().values)


def agg_segmentation_wrapper(inp):
    model_out = fcn(inp)["out"]
    selected_inds = torch.zeros_like(model_out[0:1]).scatter_(1, out_max, 1)
    return (model_out * selected_inds).sum(dim=(2, 3))


ig = IntegratedGradients(agg_segmentation_wrapper)
ig_attr, delta = ig.attribute(normalized_inp, target=largest, internal_batch_size=16, return_convergence_delta=True)
lig = LayerIntegratedGradients(agg_segmentation_wrapper, fcn.backbone.layer3.conv)
lig_attr = lig.attribute(normalized_inp, target=largest, internal_batch_size=16)
upsampled = LayerIntegratedGradients.interpolate(lig_attr, normalized_inp.shape[2:])
gc_attr = LayerGradCam(agg_segmentation_wrapper, fcn.backbone.layer3.conv).attribute(normalized_inp, target=largest)
