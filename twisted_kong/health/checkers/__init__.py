"""The built-in health checkers, one way to ask in each module."""
