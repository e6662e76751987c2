"""``python -m captum_xg``."""

import sys

from captum_xg.cli import main

sys.exit(main())
