"""A client of etcd's v3 API over any transport."""
