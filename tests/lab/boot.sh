# Switch a host on: new network stack, new cable, then its first process. Runs in the world.
# Arguments: name, number, address, configuration directory, disk directory, SAN directory.
# Every boot gets a new network namespace: a machine that was off knows nothing of its former
# connections, and no packet of those may leave it after power has come back.
set -euo pipefail
name=$1 number=$2 address=$3 config=$4 disk=$5 san=$6

mkdir -p "$disk"/{upper,work,root}
ip link del "veth$number" 2>/dev/null || :
if [ -e "$disk/net" ]; then umount -l "$disk/net"; else touch "$disk/net"; fi
unshare --net="$disk/net" true
ip -batch - <<END
link add veth$number type veth peer name eth0 netns $disk/net
link set veth$number master lab0 up
END
nsenter --net="$disk/net" ip -batch - <<END
link set lo up
link set eth0 address $(printf '02:4c:41:42:%02x:%02x' $((number / 256)) $((number % 256)))
addr add $address/24 dev eth0
link set eth0 up
END
exec nsenter --net="$disk/net" unshare --mount --pid --ipc --uts --fork --kill-child \
  bash "$config/../init.sh" "$name" "$config" "$disk" "$san"
