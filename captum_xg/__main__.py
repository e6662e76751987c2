"""``python -m captum_xg``."""

import sys

from captum_xg.cli.command_line import main

sys.exit(main())
