"""Assertions for tests of extensions of captum_xg."""

from captum_xg.testing.degree_rules import assert_degree_rule_sound

__all__ = ["assert_degree_rule_sound"]
