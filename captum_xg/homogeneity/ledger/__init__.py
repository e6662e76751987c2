"""The bias ledger: what inputs and added constants carry of an output that is not homogeneous."""
