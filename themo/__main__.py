"""``python -m themo``."""

import sys

from themo.cli import main

sys.exit(main())
