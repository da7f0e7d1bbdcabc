"""torchrun's plug-in. entry.py is what torch loads in every worker, and imports nothing."""
