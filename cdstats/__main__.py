"""``python -m cdstats``: the command line."""

from cdstats.cli import run

if __name__ == "__main__":
    run()
