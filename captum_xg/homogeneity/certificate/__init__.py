"""The static proof: abstract interpretation of one forward pass in the domain of degrees."""
