"""Our stores' contract over etcd's keys."""
