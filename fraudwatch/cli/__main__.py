"""`python -m fraudwatch.cli` is `fraudwatch`, in the same interpreter."""

from fraudwatch.cli import main

main()
