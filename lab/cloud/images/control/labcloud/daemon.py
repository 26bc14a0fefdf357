"""`python3 -m labcloud.daemon MODULE [ARGUMENT...]`: an OpenStack daemon without its Debian package."""

import importlib
import sys


def main() -> None:
    """Sets the program's name as its configuration files are found by, and runs it."""
    module = sys.argv[1]
    project, *_, name = module.split(".")
    sys.argv = [f"{project}-{name}", *sys.argv[2:]]
    sys.exit(importlib.import_module(module).main())


if __name__ == "__main__":
    main()
