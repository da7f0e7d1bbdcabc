"""Stores in Python: the whole contract on top of the methods that a class has, prefixes,
barriers."""
