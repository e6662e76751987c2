"""A model as a function of its inputs and its additive constants: in both together a ReLU network is homogeneous."""
