"""A private etcd for tests and small jobs."""
