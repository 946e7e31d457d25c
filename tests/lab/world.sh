# The first process of a farm's world: prepares its mounts and its network, then waits.
# Arguments: the state directory, the SAN directory, a hosts file, the desk's address.
# It ends, and the kernel ends everything else in the world with it, at the end of its standard
# input, whose other end is in the hands of the farm's owner alone.
set -euo pipefail
state=$1 san=$2 hosts=$3 address=$4

mount --make-rprivate /
mount -t proc proc /proc
hostname desk

# What the hosts write to their file systems lives in memory, and only as long as the world does.
mount -t tmpfs -o size=4g,mode=700 lab "$state/disks"

# The desk sees the SAN where the hosts see it. The machine's own /mnt need not have a place for
# it and must not be written to: a new /mnt takes over what there is in the old one.
if [ ! -d /mnt/san ]; then
  mkdir "$state/disks/mnt"
  mount --rbind /mnt "$state/disks/mnt"
  mount -t tmpfs -o mode=755 mnt /mnt
  for entry in "$state"/disks/mnt/*/; do
    [ -d "$entry" ] || continue
    place=/mnt/$(basename "$entry")
    mkdir "$place"
    mount --rbind "$entry" "$place"
  done
  mkdir /mnt/san
fi
mount --bind "$san" /mnt/san
[ ! -f /etc/hosts ] || mount --bind "$hosts" /etc/hosts

# An address of its own: a bridge takes the lowest one of its ports otherwise, so that it changes when a host
# is switched on again, and the other hosts send to the old one for half a minute.
ip -batch - <<END
link set lo up
link add lab0 address 02:4c:41:42:ff:ff type bridge
addr add $address/24 dev lab0
link set lab0 up
END

echo ready
exec >/dev/null
while read -r _; do :; done
