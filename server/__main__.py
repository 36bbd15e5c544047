"""`python -m server` is `clarion`."""

from .cli import main

main()
