#!/bin/sh
# docker, as kind finds it in the guest. kind gives a node's systemd 30 s to reach
# its target, from when the node's container runs, and more is needed where every
# instruction is translated: here a node counts as started when it is there, or
# when ten minutes are over.
docker=/usr/bin/docker
case "$1 $*" in
"run "*io.x-k8s.kind.cluster=*) ;;
*) exec $docker "$@" ;;
esac
id=$($docker "$@") || exit
log=/var/lib/docker/containers/$id/$id-json.log
for second in $(seq 600); do
	grep -qE 'Reached target .*Multi-User System|detected cgroup v1' "$log" && break
	sleep 1
done
echo "$id"
