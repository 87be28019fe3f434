"""Run the command line as ``python -m npresnet``."""

from npresnet.cli import main

if __name__ == "__main__":
    main()
