"""The version of this distribution; all four of the project share it."""

__version__ = "0.1.0"
