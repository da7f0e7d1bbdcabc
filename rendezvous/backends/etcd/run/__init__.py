"""Runs over etcd that an elected node keeps."""
