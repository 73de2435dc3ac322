"""`python -m aieye` is the `aieye` command."""

from aieye.cli import main

if __name__ == "__main__":
    main()
