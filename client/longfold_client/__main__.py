"""`python -m longfold_client` is the command `longfold`."""

import sys

from .cli import main

sys.exit(main())
