"""``python -m galatune`` is ``galatune``."""

from galatune.cli import main

main(prog_name="galatune")
