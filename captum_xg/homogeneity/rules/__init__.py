"""Rules for operations, one file per algebraic family; each file says on top which operations belong in it."""
