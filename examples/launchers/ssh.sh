#!/bin/bash
# Plain ssh: `ssh.sh node0 node1 node2 -- python train.py`. The first node hosts the store.
set -eu
hosts=()
while [ "$1" != "--" ]; do hosts+=("$1"); shift; done
shift
pids=()
for host in "${hosts[@]}"; do
  # -tt: when this script is ended, so is what it has started.
  ${SSH:-ssh -tt} "$host" rendezvous exec --endpoint "${hosts[0]}:${PORT:-29400}" \
      --nodes "${#hosts[@]}" --procs-per-node "${PROCS:-auto}" -- "$@" </dev/null &
  pids+=($!)
done
code=0
for pid in "${pids[@]}"; do wait "$pid" || code=$?; done
exit "$code"
