"""Who survived: a perceptron with sigmoids and a softmax on columns as they are, not scaled, and what drives it."""

import numpy as np
import torch
from captum.attr import IntegratedGradients, LayerConductance, NeuronConductance
from torch import nn

# Passengers drawn with the columns of the Titanic's list.
rng = np.random.default_rng(131254)
n = 600
female = rng.random(n) < 0.36
embarked = np.eye(3)[rng.choice(3, n, p=[0.21, 0.09, 0.70])]
passenger_class = rng.choice(3, n, p=[0.25, 0.21, 0.54])
columns = {
    "age": np.clip(rng.normal(30, 13, n), 0.2, 80),
    "sibsp": rng.poisson(0.5, n),
    "parch": rng.poisson(0.4, n),
    "fare": np.exp(rng.normal(4 - 0.8 * passenger_class, 0.5)),
    "female": female,
    "male": ~female,
    **{f"embark_{port}": embarked[:, i] for i, port in enumerate("CQS")},
    **{f"class_{i + 1}": passenger_class == i for i in range(3)},
}
chances = 2.6 * female - 0.9 * (passenger_class - 1) - 0.03 * columns["age"] + 0.2
survived = torch.from_numpy((rng.random(n) < 1 / (1 + np.exp(-chances))).astype(int))
features = torch.from_numpy(np.stack(list(columns.values()), axis=1).astype(float)).type(torch.FloatTensor)
train, test = features[:420], features[420:440]


class Survival(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear1 = nn.Linear(12, 12)
        self.sigmoid1 = nn.Sigmoid()
        self.linear2 = nn.Linear(12, 8)
        self.sigmoid2 = nn.Sigmoid()
        self.linear3 = nn.Linear(8, 2)
        self.softmax = nn.Softmax(dim=1)

    def forward(self, x):
        hidden = self.sigmoid1(self.linear1(x))
        return self.softmax(self.linear3(self.sigmoid2(self.linear2(hidden))))


torch.manual_seed(1)
net = Survival()
optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
for _ in range(200):
    optimizer.zero_grad()
    nn.functional.cross_entropy(net(train), survived[:420]).backward()
    optimizer.step()
accuracy = (net(test).argmax(1) == survived[420:440]).float().mean()

test.requires_grad_()
ig = IntegratedGradients(net)
attributions, delta = ig.attribute(test, target=1, return_convergence_delta=True)
importances = dict(zip(columns, attributions.detach().numpy().mean(0), strict=True))

neurons = LayerConductance(net, net.sigmoid1).attribute(test, target=1).detach().numpy().mean(0)
neuron_cond = NeuronConductance(net, net.sigmoid1)
of_neuron = neuron_cond.attribute(test, neuron_selector=int(abs(neurons).argmax()), target=1).mean(0)
