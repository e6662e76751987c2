"""Which networks are piecewise linear along a line, and where their pieces end."""
