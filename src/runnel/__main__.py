"""`python -m runnel`: the same as the command `runnel`."""

from runnel.edge.cli.main import main

if __name__ == "__main__":
    main()
