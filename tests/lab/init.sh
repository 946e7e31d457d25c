# The first process of a host: mounts its root, starts sshd, then reaps orphans for ever.
# Arguments: name, configuration directory, disk directory, SAN directory.
set -euo pipefail
name=$1 config=$2 disk=$3 san=$4

mount --make-rprivate /
hostname "$name"
cd "$disk"  # relative names, as mount cannot take a comma or colon in them
mount -t overlay -o lowerdir=/,upperdir=upper,workdir=work,index=off overlay root
cd root

mount -t proc proc proc
mount -t sysfs sysfs sys
mount --rbind /dev dev
[ ! -d dev/pts ] || mount -t devpts -o newinstance,gid=5,mode=620,ptmxmode=666 devpts dev/pts
[ ! -d dev/shm ] || mount -t tmpfs -o mode=1777 shm dev/shm
mount -t tmpfs -o mode=1777,size=1g tmp tmp
mount -t tmpfs -o mode=755 run run
mount -t tmpfs -o mode=755 mnt mnt

mkdir -p run/sshd run/lock run/lab run/former mnt/san
mkdir -p -m 700 run/filer
mkdir run/filer/san
mount --bind "$config" run/lab
mount --bind "$san" run/filer/san  # where the SAN comes back from after it was taken away
mount --bind "$san" mnt/san

echo "$name" > etc/hostname
cp "$config/../hosts" etc/hosts
printf '%s' "$name" | md5sum | cut -c1-32 > etc/machine-id
if ! grep -q '^artist:' etc/passwd; then
  echo 'artist:x:5000:5000::/home/artist:/bin/bash' >> etc/passwd
  echo 'artist:x:5000:' >> etc/group
  echo 'artist:*:19000:0:99999:7:::' >> etc/shadow  # no password, and not locked
  install -d -o 5000 -g 5000 home/artist
fi

mount --bind "$config/loadavg" proc/loadavg
mount --bind "$config/cpuinfo" proc/cpuinfo
mount --bind "$config/boot_id" proc/sys/kernel/random/boot_id
mount --bind "$config/online" sys/devices/system/cpu/online
mount --bind "$config/nproc" usr/bin/nproc

pivot_root . run/former
cd /
umount -l run/former
rmdir run/former

exec </dev/null >>/run/lab/log 2>&1
"$(command -v sshd)" -f /run/lab/sshd_config -E /run/lab/sshd.log
mkfifo -m 600 /run/idle
exec 3<>/run/idle  # to wait without a child, which would be one of the host's processes
while :; do read -r _ <&3 || :; done
