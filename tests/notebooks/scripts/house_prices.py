"""A number from a table: regression by a network of four layers, all test rows at once, no target to choose."""

import numpy as np
import torch
from captum.attr import DeepLift, FeatureAblation, GradientShap, IntegratedGradients, LayerConductance, NoiseTunnel
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split
from torch import nn

table = load_diabetes(scaled=False)
split = train_test_split(table.data / table.data.std(0), table.target / 100, test_size=0.05, random_state=0)
X_train, X_test, y_train, y_test = (torch.tensor(part).float() for part in split)


class Prices(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin1, self.relu1 = nn.Linear(10, 100), nn.ReLU()
        self.lin2, self.relu2 = nn.Linear(100, 50), nn.ReLU()
        self.lin3, self.relu3 = nn.Linear(50, 10), nn.ReLU()
        self.lin4 = nn.Linear(10, 1)

    def forward(self, input):
        return self.lin4(self.relu3(self.lin3(self.relu2(self.lin2(self.relu1(self.lin1(input)))))))


torch.manual_seed(1234)
model = Prices()
model.train()
optimizer = torch.optim.RMSprop(model.parameters(), lr=0.0005)
for _ in range(15):
    for batch in torch.randperm(len(X_train)).split(50):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(X_train[batch]), y_train[batch].view(-1, 1), reduction="sum").backward()
        optimizer.step()
model.eval()
err = np.sqrt(((model(X_test).view(-1) - y_test) ** 2).mean().item())

ig = IntegratedGradients(model)
ig_nt = NoiseTunnel(ig)
ig_attr_test = ig.attribute(X_test, n_steps=50)
ig_nt_attr_test = ig_nt.attribute(X_test)
dl_attr_test = DeepLift(model).attribute(X_test)
gs_attr_test = GradientShap(model).attribute(X_test, X_train)
fa_attr_test = FeatureAblation(model).attribute(X_test)
ig_attr_test_sum = ig_attr_test.detach().numpy().sum(0)
ig_attr_test_norm_sum = ig_attr_test_sum / np.linalg.norm(ig_attr_test_sum, ord=1)
lc_attr_test = LayerConductance(model, model.lin4).attribute(X_test, n_steps=100, attribute_to_layer_input=True)
