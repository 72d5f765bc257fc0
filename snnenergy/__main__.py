"""`python -m snnenergy` is the `snnenergy` command."""

from snnenergy.cli import main

if __name__ == "__main__":
    main()
