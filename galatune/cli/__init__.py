"""The command line: a command parses, calls one library function and prints."""

import sys

try:
    from galatune.cli.main import main
except KeyboardInterrupt:  # while the commands themselves are loaded
    sys.exit(130)

__all__ = ["main"]
