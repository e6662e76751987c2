"""Masking metrics KPM, KNM, KAM and RAM."""
