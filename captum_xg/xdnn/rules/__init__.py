"""Conversions, one file per family."""
