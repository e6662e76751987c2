"""Bias ledger: what inputs and constants carry of an output that is not homogeneous."""
