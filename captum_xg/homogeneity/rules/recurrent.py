"""Recurrent: cells that run fused, as one operation; without fusion they are matrix products and activations."""

from __future__ import annotations

from collections.abc import Sequence

from captum_xg.homogeneity.degree import ZERO, Reason, Scaling, nonlinear_of, product_of, selection_of, sum_of
from captum_xg.homogeneity.rules.common import steps, with_bias
from captum_xg.homogeneity.rules.op_call import OpCall
from captum_xg.homogeneity.rules.registry import degree_rule

_RELU = 0  # of cuDNN's modes; the others are tanh, LSTM and GRU
_GATES = Reason("has gates or activations that saturate", "Use nn.RNN with nonlinearity='relu' and bias=False")
_WEIGHTS = Reason("has recurrent weights that change with α", "Use weights that do not depend on the input")


@degree_rule("mkldnn_rnn_layer", "_thnn_fused_lstm_cell", "_thnn_fused_gru_cell", "_lstm_mps", "lstm_mps")
def gated(call: OpCall) -> Scaling:
    """Gates are sigmoids and tanh of what goes in."""
    return _function_of_all(call)


@degree_rule("_cudnn_rnn", "miopen_rnn")
def fused_layers(call: OpCall) -> Scaling:
    """With ReLU, h ← ReLU(Wx + Uh + b), step by step; else gates or tanh."""
    if call["mode"] != _RELU:
        return _function_of_all(call)
    weights = [nonlinear_of(call.scaling_of(weight), _WEIGHTS, otherwise=None) for weight in call["weight"]]
    state = sum_of(*call.neutralised(call["input"], call["hx"]))
    state = product_of(state, *weights)
    if call["weight_stride0"] > 2:
        for bias in (w for i, w in enumerate(call["weight"]) if i % call["weight_stride0"] >= 2):
            state = with_bias(call, state, bias)
    if call["train"] and call["dropout"] > 0:
        state = state.because(Reason("draws random numbers, so F(x) is no fixed function of x", "Call model.eval()"))
    return state


@degree_rule("_pack_padded_sequence")
def packed(call: OpCall) -> Sequence[Scaling]:
    """The steps of all sequences, one after the other, without those behind their ends; and how many run at a time."""
    lengths = call.scaling("lengths")
    return selection_of(lengths, call.scaling("input")), steps(lengths)


@degree_rule("_pad_packed_sequence")
def padded(call: OpCall) -> Sequence[Scaling]:
    """The steps of each sequence, with one number behind its end; and the lengths."""
    sizes, value = call.scaling("batch_sizes"), call["padding_value"]
    reason = Reason(f"pads with the constant {value:g}", "Pad with zeros")
    parts = call.neutralised(call["data"], value)
    return selection_of(sizes, sum_of(*parts, reason=reason)), steps(sizes)


def _function_of_all(call: OpCall) -> Scaling:
    parts = [nonlinear_of(call.scaling_of(t), _GATES) for t in call.tensors()]
    return product_of(*parts) if parts else ZERO
