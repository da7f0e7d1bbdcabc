"""What a store is in Python: the whole contract over whatever a class has, prefixes, barriers."""
