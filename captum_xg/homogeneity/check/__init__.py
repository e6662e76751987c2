"""The numeric check of homogeneity, its report, and the diagnosis of what breaks it."""
