"""Weights and images that the demo and the tutorials run on."""
