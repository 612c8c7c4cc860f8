"""`python -m a2alinker` is the command `a2alinker`."""

import sys

from .cli import main

sys.exit(main())
