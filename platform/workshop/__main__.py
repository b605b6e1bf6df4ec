"""``python -m workshop``."""

from workshop.cli.app import main

if __name__ == "__main__":
    main()
