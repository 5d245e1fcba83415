# load.sh TREE ARCHIVE: the docker of a root file system loads an image archive
# into its own storage. To be run in mount and PID namespaces of its own.
tree=$1 archive=$2
mount --bind "$tree" "$tree" # docker unpacks layers below a root that is a mount
mount -t proc proc "$tree/proc"
mount --rbind /sys "$tree/sys"
mount --rbind /dev "$tree/dev"
mount -t tmpfs tmpfs "$tree/run"
mount -t tmpfs tmpfs "$tree/tmp"
: > "$tree/tmp/image.tar"
mount --bind "$archive" "$tree/tmp/image.tar"
chroot "$tree" dockerd --storage-driver=overlay2 --bridge=none --iptables=false --ip6tables=false > "$tree/tmp/log" 2>&1 &
daemon=$!
until chroot "$tree" docker version > /dev/null 2>&1; do
	kill -0 $daemon || { tail -n 5 "$tree/tmp/log" >&2; exit 1; }
	sleep 0.1
done
chroot "$tree" docker load -i /tmp/image.tar > /dev/null
kill $daemon
wait $daemon || true
