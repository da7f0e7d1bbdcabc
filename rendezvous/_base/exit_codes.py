"""Exit codes that say the same wherever they come from: a command, its health check, a launcher."""

__all__ = ["DO_NOT_RESTART"]

# The job has failed for good, and to start this node again is of no use. The number is that of
# NVIDIA's launcher; schedulers can be told of it (docs/launchers.md).
DO_NOT_RESTART = 93
