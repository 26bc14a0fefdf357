"""`python -m cbmctl`: the command without an installed script."""

from cbmctl.cli import main

main()
