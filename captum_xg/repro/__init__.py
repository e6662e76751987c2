"""The experiments of the paper as commands: one module each, with ``add_arguments(parser)`` and ``run(options)``."""
