"""The scaling test: F(αx) beside αᵏF(x), the degree that fits, and what a dtype can resolve of it."""
