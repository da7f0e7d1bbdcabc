"""Runs that the store's server keeps."""
