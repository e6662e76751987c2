"""Transfer functions of operations: how the degrees of results follow from those of arguments; one file a family."""
