"""An answer from a picture and a question: attributions to pixels and to embedded words of one wrapped network."""

import torch
from captum.attr import LayerIntegratedGradients, TokenReferenceBase
from captum.attr._utils.input_layer_wrapper import ModelInputWrapper
from sklearn.datasets import load_sample_image
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence
from torchvision import transforms

questions = "<pad> what is on the picture ? colour flower where"
questions = questions.split()
answers = ["flower", "red", "garden", "yes", "no"]


class TextProcessor(nn.Module):
    def __init__(self, embedding_dim=12, features=20):
        super().__init__()
        self.embedding = nn.Embedding(len(questions), embedding_dim, padding_idx=0)
        self.drop = nn.Dropout(0.5)
        self.tanh = nn.Tanh()
        self.lstm = nn.LSTM(embedding_dim, features)

    def forward(self, q, q_len):
        tanhed = self.tanh(self.drop(self.embedding(q)))
        packed = pack_padded_sequence(tanhed, q_len, batch_first=True)
        _, (_, c) = self.lstm(packed)
        return c.squeeze(0)


class VQANet(nn.Module):
    def __init__(self):
        super().__init__()
        self.text = TextProcessor()
        self.image = nn.Sequential(nn.Conv2d(3, 12, 5, 3), nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 12, 3, 2))
        self.attention = nn.Linear(12 + 20, 1)
        self.classifier = nn.Sequential(nn.Dropout(0.5), nn.Linear(12 + 20, 32), nn.ReLU(), nn.Linear(32, len(answers)))

    def forward(self, v, q, q_len):
        q = self.text(q, q_len.reshape(-1))
        v = self.image(v).flatten(2).transpose(1, 2)
        v = v / (v.norm(p=2, dim=2, keepdim=True) + 1e-8)
        tiled = torch.cat([v, q.unsqueeze(1).expand(-1, v.shape[1], -1)], dim=2)
        v = (self.attention(tiled).softmax(dim=1) * v).sum(dim=1)
        return self.classifier(torch.cat([v, q], dim=1))


torch.manual_seed(0)
vqa_net = nn.DataParallel(ModelInputWrapper(VQANet()))
vqa_net.eval()

to_input = transforms.Compose([transforms.ToTensor(), transforms.Resize(24), transforms.CenterCrop(24)])
image_features = to_input(load_sample_image("flower.jpg").copy()).unsqueeze(0).requires_grad_()
token_reference = TokenReferenceBase(reference_token_idx=0)
attr = LayerIntegratedGradients(vqa_net, [vqa_net.module.input_maps["v"], vqa_net.module.module.text.embedding])

found = []
for question in ("what is on the picture ?", "what colour is the flower ?"):
    q = torch.tensor([[questions.index(word) for word in question.split()]])
    q_len = torch.tensor([q.shape[1]])
    q_reference_indices = token_reference.generate_reference(q_len.item(), device="cpu").unsqueeze(0)
    ans = vqa_net(image_features, q, q_len.unsqueeze(0)).argmax().item()
    attributions = attr.attribute(
        inputs=(image_features, q),
        baselines=(image_features * 0, q_reference_indices),
        target=ans,
        additional_forward_args=q_len.unsqueeze(0),
        n_steps=30,
    )
    text_attributions_norm = attributions[1].sum(dim=2).squeeze(0).norm()
    pixels = attributions[0].squeeze(0).sum(dim=0).abs()
    found.append((answers[ans], pixels, text_attributions_norm))
