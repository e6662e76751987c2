"""The part of a model behind a layer as a function of its own."""
