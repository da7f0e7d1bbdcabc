#!/bin/bash
# Plain ssh: `ssh.sh node0 node1 node2 -- python train.py`. The first node hosts the store.
# Before, put one token on all of them: `rendezvous token --save`, and copy ~/.config/rendezvous/token.
set -eu
hosts=()
while [ $# -gt 0 ] && [ "$1" != "--" ]; do hosts+=("$1"); shift; done
if [ $# -lt 2 ] || [ ${#hosts[@]} -eq 0 ]; then
  echo "usage: ssh.sh HOST... -- COMMAND [ARGUMENT...]" >&2
  exit 2
fi
shift
# ssh makes one line of its words, which the host's shell reads.
printf -v command '%q ' "$@"
pids=()
for host in "${hosts[@]}"; do
  # -tt: when this script is ended, so is what it has started.
  ${SSH:-ssh -tt} "$host" rendezvous exec --endpoint "${hosts[0]}:${PORT:-29400}" \
      --nodes "${#hosts[@]}" --procs-per-node "${PROCS:-auto}" -- "$command" </dev/null &
  pids+=($!)
done
code=0
for pid in "${pids[@]}"; do wait "$pid" || code=$?; done
exit "$code"
