"""Makes `python -m backlane` the command `backlane`."""

from backlane.cli.main import main

if __name__ == "__main__":
    main()
