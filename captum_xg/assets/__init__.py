"""Weights and images that the demo and the tutorials run on."""

from pathlib import Path

ASSETS = Path(__file__).resolve().parent
