"""The elected node's part."""
