"""Where the answer begins and ends: a small BERT of random weights, its embeddings together and each for itself."""

from dataclasses import dataclass

import torch
from captum.attr import LayerConductance, LayerIntegratedGradients
from torch import nn

words = "[PAD] [CLS] [SEP] what is important to us ? it include , empower and support humans of all kinds ."
words = words.split()
config = {"hidden_size": 24, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 48}


class Embeddings(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.word_embeddings = nn.Embedding(len(words), d, padding_idx=0)
        self.position_embeddings = nn.Embedding(64, d)
        self.token_type_embeddings = nn.Embedding(2, d)
        self.LayerNorm = nn.LayerNorm(d, eps=1e-12)
        self.dropout = nn.Dropout(0.1)

    def forward(self, input_ids, token_type_ids=None, position_ids=None):
        position_ids = torch.arange(input_ids.shape[1])[None] if position_ids is None else position_ids
        token_type_ids = torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids
        embeddings = self.word_embeddings(input_ids) + self.token_type_embeddings(token_type_ids)
        return self.dropout(self.LayerNorm(embeddings + self.position_embeddings(position_ids)))


class Layer(nn.Module):
    def __init__(self, d, heads, wide):
        super().__init__()
        self.query, self.key, self.value = nn.Linear(d, d), nn.Linear(d, d), nn.Linear(d, d)
        self.output, self.norm1 = nn.Linear(d, d), nn.LayerNorm(d, eps=1e-12)
        self.mlp, self.norm2 = nn.Sequential(nn.Linear(d, wide), nn.GELU(), nn.Linear(wide, d)), nn.LayerNorm(d)
        self.heads = heads

    def forward(self, x, attention_mask):
        q, k, v = (f(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for f in (self.query, self.key, self.value))
        scores = q @ k.transpose(2, 3) / q.shape[-1] ** 0.5 + (1.0 - attention_mask[:, None, None]) * -1e4
        x = self.norm1(x + self.output((scores.softmax(-1) @ v).transpose(1, 2).flatten(2)))
        return self.norm2(x + self.mlp(x))


@dataclass
class Output:
    start_logits: torch.Tensor
    end_logits: torch.Tensor


class Bert(nn.Module):
    def __init__(self):
        super().__init__()
        d, heads, wide = config["hidden_size"], config["num_attention_heads"], config["intermediate_size"]
        self.embeddings = Embeddings(d)
        self.layer = nn.ModuleList([Layer(d, heads, wide) for _ in range(config["num_hidden_layers"])])
        self.qa_outputs = nn.Linear(d, 2)

    def forward(self, input_ids=None, token_type_ids=None, position_ids=None, attention_mask=None, inputs_embeds=None):
        x = self.embeddings(input_ids, token_type_ids, position_ids) if inputs_embeds is None else inputs_embeds
        for layer in self.layer:
            x = layer(x, attention_mask)
        return Output(*self.qa_outputs(x).unbind(-1))


torch.manual_seed(0)
model = Bert()
model.eval()
model.zero_grad()


def predict(inputs, token_type_ids=None, position_ids=None, attention_mask=None):
    output = model(inputs, token_type_ids=token_type_ids, position_ids=position_ids, attention_mask=attention_mask)
    return output.start_logits, output.end_logits


def squad_pos_forward_func(inputs, token_type_ids=None, position_ids=None, attention_mask=None, position=0):
    return predict(inputs, token_type_ids, position_ids, attention_mask)[position].max(1).values


question, text = (
    "what is important to us ?",
    "it is important to us to include , empower and support humans of all kinds .",
)
all_tokens = ["[CLS]", *question.split(), "[SEP]", *text.split(), "[SEP]"]
input_ids = torch.tensor([[words.index(token) for token in all_tokens]])
ref_input_ids = torch.where((input_ids == 1) | (input_ids == 2), input_ids, torch.zeros_like(input_ids))
token_type_ids = (torch.arange(len(all_tokens)) > len(question.split()) + 1).long()[None]
ref_token_type_ids = torch.zeros_like(token_type_ids)
position_ids = torch.arange(len(all_tokens)).unsqueeze(0).expand_as(input_ids)
ref_position_ids = torch.zeros(len(all_tokens), dtype=torch.long).unsqueeze(0).expand_as(input_ids)
attention_mask = torch.ones_like(input_ids)


def summarize(attributions):
    attributions = attributions.sum(dim=-1).squeeze(0)
    return attributions / torch.norm(attributions)


lig = LayerIntegratedGradients(squad_pos_forward_func, model.embeddings)
attributions_start, delta_start = lig.attribute(
    inputs=input_ids,
    baselines=ref_input_ids,
    additional_forward_args=(token_type_ids, position_ids, attention_mask, 0),
    return_convergence_delta=True,
)
attributions_end, delta_end = lig.attribute(
    inputs=input_ids,
    baselines=ref_input_ids,
    additional_forward_args=(token_type_ids, position_ids, attention_mask, 1),
    return_convergence_delta=True,
)

parts = model.embeddings
lig2 = LayerIntegratedGradients(
    squad_pos_forward_func, [parts.word_embeddings, parts.token_type_embeddings, parts.position_embeddings]
)
word, token_type, position = lig2.attribute(
    inputs=(input_ids, token_type_ids, position_ids),
    baselines=(ref_input_ids, ref_token_type_ids, ref_position_ids),
    additional_forward_args=(attention_mask, 0),
)
top = torch.topk(summarize(word), 5)


def squad_pos_forward_func2(input_emb, attention_mask=None, position=0):
    output = model(inputs_embeds=input_emb, attention_mask=attention_mask)
    return (output.start_logits, output.end_logits)[position].max(1).values


input_embeddings = model.embeddings(input_ids, token_type_ids, position_ids)
ref_input_embeddings = model.embeddings(ref_input_ids, ref_token_type_ids, ref_position_ids)
conductances = [
    LayerConductance(squad_pos_forward_func2, layer).attribute(
        inputs=input_embeddings, baselines=ref_input_embeddings, additional_forward_args=(attention_mask, 0)
    )
    for layer in model.layer
]
