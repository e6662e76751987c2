"""The subcommands of ``captum-xg``, one file each: ``add_parser`` describes it, ``run`` does it."""
