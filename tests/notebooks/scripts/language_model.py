"""What a prompt does to each token that follows: a small language model of random weights and a tokenizer of words."""

from types import SimpleNamespace

import torch
from captum.attr import LayerIntegratedGradients, LLMGradientAttribution, TextTokenInput
from torch import nn

words = "<s> <pad> Dave lives in Palm Coast , FL and is a lawyer . His interests include playing golf hiking"
words = words.split()


class Tokenizer:
    """What Captum asks a tokenizer for."""

    pad_token_id = 1

    def encode(self, text, add_special_tokens=True, return_tensors=None):
        ids = [0] * add_special_tokens + [words.index(word) for word in text.split()]
        return ids if return_tensors is None else torch.tensor([ids])

    def decode(self, ids):
        return " ".join(words[int(i)] for i in ids)

    def convert_ids_to_tokens(self, ids):
        return [words[int(i)] for i in ids] if hasattr(ids, "__len__") else words[int(ids)]

    def convert_tokens_to_ids(self, tokens):
        return [words.index(token) for token in tokens]

    def __call__(self, text, add_special_tokens=True, return_offsets_mapping=False, **_):
        ids, offsets, start = [0] * add_special_tokens, [(0, 0)] * add_special_tokens, 0
        for word in text.split():
            start = text.index(word, start)
            ids.append(words.index(word))
            offsets.append((start, start + len(word)))
        return {"input_ids": ids} | ({"offset_mapping": offsets} if return_offsets_mapping else {})


class Decoder(nn.Module):
    def __init__(self, d=16):
        super().__init__()
        self.attention_norm, self.mlp_norm = nn.RMSNorm(d, eps=1e-6), nn.RMSNorm(d, eps=1e-6)
        self.qkv, self.output = nn.Linear(d, 3 * d, bias=False), nn.Linear(d, d, bias=False)
        self.gate, self.up, self.down = nn.Linear(d, 32), nn.Linear(d, 32), nn.Linear(32, d)

    def forward(self, x):
        q, k, v = self.qkv(self.attention_norm(x)).unsqueeze(1).chunk(3, dim=-1)
        x = x + self.output(nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True).squeeze(1))
        y = self.mlp_norm(x)
        return x + self.down(nn.functional.silu(self.gate(y)) * self.up(y))


class LanguageModel(nn.Module):
    device = torch.device("cpu")

    def __init__(self, d=16):
        super().__init__()
        self.embed_tokens, self.positions = nn.Embedding(len(words), d), nn.Embedding(64, d)
        self.layers = nn.Sequential(Decoder(d), Decoder(d))
        self.norm, self.lm_head = nn.RMSNorm(d, eps=1e-6), nn.Linear(d, len(words), bias=False)

    def forward(self, input_ids, attention_mask=None):
        x = self.embed_tokens(input_ids) + self.positions.weight[: input_ids.shape[1]]
        return SimpleNamespace(logits=self.lm_head(self.norm(self.layers(x))))


torch.manual_seed(0)
model, tokenizer = LanguageModel(), Tokenizer()
model.eval()

eval_prompt = "Dave lives in Palm Coast , FL and is a lawyer . His interests include"
target = "playing golf , hiking"
skip_tokens = [0]  # <s>

lig = LayerIntegratedGradients(model, model.embed_tokens)
llm_attr = LLMGradientAttribution(lig, tokenizer)
inp = TextTokenInput(eval_prompt, tokenizer, skip_tokens=skip_tokens)
attr_res = llm_attr.attribute(inp, target=target)
seq_attr, token_attr = attr_res.seq_attr, attr_res.token_attr
