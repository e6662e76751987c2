"""Which words make a sentence good or bad: a convolutional network on embedded words, against a row of padding."""

import os
from pathlib import Path

import torch
import torch.nn.functional as F
from captum.attr import LayerIntegratedGradients, TokenReferenceBase, visualization
from torch import nn

data = Path(os.environ.get("CAPTUM_XG_DATA", "")) / "sentiment" / "amazonReviewSnippets_GroundTruth.txt"
if data.exists():
    rows = [line.split("\t") for line in data.read_text(encoding="utf-8", errors="replace").splitlines()]
    rated = [(row[2].lower().split(), float(float(row[1]) > 0)) for row in rows if len(row) > 2][:1500]
else:
    good, bad = ["great", "fantastic", "lovely"], ["horrible", "terrible", "bad"]
    rated = [
        (["it", "was", "a", (good if i % 2 else bad)[i % 3], "show", "indeed", "!"], float(i % 2)) for i in range(60)
    ]
vocabulary = ["<unk>", "<pad>", *sorted({word for words, _ in rated for word in words})]
stoi = {word: i for i, word in enumerate(vocabulary)}
PAD_IND = stoi["<pad>"]


class CNN(nn.Module):
    def __init__(self, vocab_size, embedding_dim=24, n_filters=10, filter_sizes=(3, 4, 5)):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embedding_dim, padding_idx=PAD_IND)
        self.convs = nn.ModuleList([nn.Conv2d(1, n_filters, (size, embedding_dim)) for size in filter_sizes])
        self.fc = nn.Linear(len(filter_sizes) * n_filters, 1)
        self.dropout = nn.Dropout(0.5)

    def forward(self, text):
        embedded = self.embedding(text).unsqueeze(1)
        conved = [F.relu(conv(embedded)).squeeze(3) for conv in self.convs]
        pooled = [F.max_pool1d(conv, conv.shape[2]).squeeze(2) for conv in conved]
        return self.fc(self.dropout(torch.cat(pooled, dim=1)))


def ids_of(words, length):
    return torch.tensor([stoi.get(word, 0) for word in (words + ["<pad>"] * length)[:length]])


torch.manual_seed(0)
model = CNN(len(vocabulary))
optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
ids, labels = torch.stack([ids_of(words, 20) for words, _ in rated]), torch.tensor([label for _, label in rated])
for batch in torch.randperm(len(ids)).repeat(2).split(60):
    optimizer.zero_grad()
    F.binary_cross_entropy_with_logits(model(ids[batch]).squeeze(1), labels[batch]).backward()
    optimizer.step()
model.eval()

token_reference = TokenReferenceBase(reference_token_idx=PAD_IND)
lig = LayerIntegratedGradients(model, model.embedding)
vis_data_records_ig = []


def interpret_sentence(model, sentence, min_len=7, label=0):
    text = sentence.lower().split()
    text += ["<pad>"] * (min_len - len(text))
    model.zero_grad()
    input_indices = ids_of(text, min_len).unsqueeze(0)
    pred = torch.sigmoid(model(input_indices)).item()
    reference_indices = token_reference.generate_reference(min_len, device="cpu").unsqueeze(0)
    attributions_ig, delta = lig.attribute(input_indices, reference_indices, n_steps=500, return_convergence_delta=True)
    scores = attributions_ig.sum(dim=2).squeeze(0)
    scores = (scores / torch.norm(scores)).cpu().detach().numpy()
    record = (scores, pred, str(round(pred)), str(label), "1", scores.sum(), text, delta)
    vis_data_records_ig.append(visualization.VisualizationDataRecord(*record))


interpret_sentence(model, "it was a fantastic performance !", label=1)
interpret_sentence(model, "such a great show !", label=1)
interpret_sentence(model, "it was a horrible movie", label=0)
