"""The axioms by short names, and those that Integrated Gradients satisfy."""

A, B, IMPLEMENTATION, COMPLETE, LINEAR, SYMMETRIC, HOMOGENEOUS = AXIOMS = (
    "sensitivity_a",
    "sensitivity_b",
    "implementation_invariance",
    "completeness",
    "linearity",
    "symmetry",
    "nonnegative_homogeneity",
)

EVERY = {A, B, IMPLEMENTATION, COMPLETE, LINEAR, SYMMETRIC}
