"""Axiom report: the axioms of attributions, tried out on functions whose right answer is known."""
