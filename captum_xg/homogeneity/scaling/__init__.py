"""Numbers of a function along rays through the origin: F(αx) beside αᵏF(x), and the degree that fits."""
