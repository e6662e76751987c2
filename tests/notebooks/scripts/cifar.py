"""What is on a small photograph: a network of two convolutions, with plain and smoothed attributions."""

import numpy as np
import torch
import torch.nn.functional as F
from captum.attr import DeepLift, IntegratedGradients, NoiseTunnel, Saliency
from sklearn.datasets import load_sample_images
from torch import nn, optim

# Tiles of two photographs, 32 × 32 as CIFAR's images, in the range from -1 to 1.
photographs = [torch.from_numpy(image.copy()).permute(2, 0, 1) / 127.5 - 1 for image in load_sample_images().images]
tiles = [p[:, :416, :640].unfold(1, 32, 32).unfold(2, 32, 32).permute(1, 2, 0, 3, 4).flatten(0, 1) for p in photographs]
images = torch.cat(tiles)
labels = torch.arange(2).repeat_interleave(len(tiles[0]))
classes = ("temple", "flower", "car", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool1 = nn.MaxPool2d(2, 2)
        self.pool2 = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)
        self.relu1 = nn.ReLU()
        self.relu2 = nn.ReLU()
        self.relu3 = nn.ReLU()
        self.relu4 = nn.ReLU()

    def forward(self, x):
        x = self.pool1(self.relu1(self.conv1(x)))
        x = self.pool2(self.relu2(self.conv2(x)))
        x = x.view(-1, 16 * 5 * 5)
        x = self.relu4(self.fc2(self.relu3(self.fc1(x))))
        return self.fc3(x)


torch.manual_seed(0)
net = Net()
optimizer = optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
for _ in range(3):
    for batch in torch.randperm(len(images)).split(26):
        optimizer.zero_grad()
        F.cross_entropy(net(images[batch]), labels[batch]).backward()
        optimizer.step()

ind = 3
input = images[ind].unsqueeze(0)
input.requires_grad = True
net.eval()


def attribute_image_features(algorithm, input, **kwargs):
    net.zero_grad()
    return algorithm.attribute(input, target=labels[ind], **kwargs)


grads = Saliency(net).attribute(input, target=labels[ind].item())
ig = IntegratedGradients(net)
attr_ig, delta = attribute_image_features(ig, input, baselines=input * 0, return_convergence_delta=True)
attr_ig = np.transpose(attr_ig.squeeze().cpu().detach().numpy(), (1, 2, 0))
nt = NoiseTunnel(ig)
attr_ig_nt = attribute_image_features(nt, input, baselines=input * 0, nt_type="smoothgrad_sq", nt_samples=8, stdevs=0.2)
attr_ig_nt = np.transpose(attr_ig_nt.squeeze(0).cpu().detach().numpy(), (1, 2, 0))
attr_dl = attribute_image_features(DeepLift(net), input, baselines=input * 0)
