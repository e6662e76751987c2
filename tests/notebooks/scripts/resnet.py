"""The classes of a photograph: a network of residual blocks with batch normalisation, without and with noise."""

import numpy as np
import torch
import torch.nn.functional as F
from captum.attr import GradientShap, IntegratedGradients, NoiseTunnel
from captum.attr import visualization as viz
from sklearn.datasets import load_sample_image
from torch import nn
from torchvision import transforms


class Block(nn.Module):
    def __init__(self, planes, out, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(planes, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out)
        self.conv2, self.bn2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        shortcut = nn.Sequential(nn.Conv2d(planes, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        self.downsample = shortcut if stride > 1 else nn.Identity()

    def forward(self, x):
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out += self.downsample(x)
        return self.relu(out)


class ResNet(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 12, 7, 2, 3, bias=False), nn.BatchNorm2d(12)
        self.relu, self.maxpool = nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        self.layers = nn.Sequential(Block(12, 12, 1), Block(12, 24, 2), Block(24, 48, 2))
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(48, classes)

    def forward(self, x):
        x = self.layers(self.maxpool(self.relu(self.bn1(self.conv1(x)))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


to_tensor = transforms.Compose([transforms.ToTensor(), transforms.Resize(32), transforms.CenterCrop(32)])
normalize = transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
transformed_img = to_tensor(load_sample_image("flower.jpg").copy())
input = normalize(transformed_img).unsqueeze(0)

torch.manual_seed(0)
model = ResNet()
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
crops = transforms.RandomResizedCrop(32, scale=(0.1, 1.0))
photographs = [normalize(transforms.ToTensor()(load_sample_image(name).copy())) for name in ("flower.jpg", "china.jpg")]
for _ in range(10):
    optimizer.zero_grad()
    batch = torch.stack([crops(photographs[i % 2]) for i in range(20)])
    F.cross_entropy(model(batch), torch.arange(20) % 2).backward()
    optimizer.step()
model = model.eval()

output = F.softmax(model(input), dim=1)
prediction_score, pred_label_idx = torch.topk(output, 1)
pred_label_idx.squeeze_()

integrated_gradients = IntegratedGradients(model)
attributions_ig = integrated_gradients.attribute(input, target=pred_label_idx, n_steps=200)
figure, _ = viz.visualize_image_attr(
    np.transpose(attributions_ig.squeeze().cpu().detach().numpy(), (1, 2, 0)),
    np.transpose(transformed_img.numpy(), (1, 2, 0)),
    method="heat_map",
    sign="positive",
    use_pyplot=False,
)
noise_tunnel = NoiseTunnel(integrated_gradients)
attributions_ig_nt = noise_tunnel.attribute(input, nt_samples=10, nt_type="smoothgrad_sq", target=pred_label_idx)
attributions_gs = GradientShap(model).attribute(
    input, n_samples=10, stdevs=0.0001, baselines=torch.cat([input * 0, input * 1]), target=pred_label_idx
)
