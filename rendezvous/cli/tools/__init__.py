"""Servers, stores and measurements from the command line."""
