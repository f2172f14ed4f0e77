"""`python -m jaxbackprop`: the same as the command `jaxbackprop`."""

from .cli import main

if __name__ == "__main__":
    main()
