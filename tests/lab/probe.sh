# Try, in a world that goes away by itself, everything that a farm does; name what does not work.
# Arguments: an empty directory.
try() {
  local what=$1
  shift
  "$@" >/dev/null 2>&1 || echo "$what"
}
cd "$1" || exit 1
overlay() {
  mount -t tmpfs probe . && cd "$PWD" && mkdir upper work root &&
    mount -t overlay -o lowerdir=/,upperdir=upper,workdir=work,index=off overlay root
}
own_devices() {
  mount -t proc proc root/proc && mount -t sysfs sysfs root/sys && mount --rbind /dev root/dev
}
pivot() {
  cd root && mkdir -p run/probe && mount --make-rprivate / &&
    unshare --mount bash -c 'mount --make-rprivate / && pivot_root . run/probe'
}
try "a private mount name space (is / a mount point?)" mount --make-rprivate /
try "overlayfs over this machine's root file system" overlay
try "mounting proc and sysfs" own_devices
try "pivot_root" pivot
try "network bridges" ip link add probe0 type bridge
try "pinning network name spaces" bash -c 'touch net && unshare --net="$PWD/net" true'
try "veth network pairs" ip link add probe1 type veth peer name eth0 netns "$PWD/net"
try "iptables" env XTABLES_LOCKFILE="$PWD/lock" iptables -A INPUT -i lo -j DROP
try "/proc/PID/task/PID/children (CONFIG_PROC_CHILDREN)" test -e "/proc/self/task/$$/children"
