#!/bin/bash
# Grid Engine of one node, installed into an overlay of / in name spaces of its own, and a job over it, of which
# one pilot is cancelled; then a job that the engine refuses. Nothing stays on this machine: everything ends with
# this process, which is process 1 of its world.
# usage: gridengine.sh FOLDER PROGRAM...    FOLDER holds debs/, many.pdf, slow/gs, hosts.toml and refused.toml
set -u
cd "$1" || exit 1
if [ "${2-}" != inside ]; then
  M=$PWD/root
  mkdir -p "$M" cover
  mount -t tmpfs tmpfs cover
  mkdir cover/upper cover/work
  mount -t overlay overlay -o "lowerdir=/,upperdir=$PWD/cover/upper,workdir=$PWD/cover/work" "$M"
  # Of this machine only devices and the test's own folder can be written to.
  for each in /dev "$PWD"; do mkdir -p "$M$each" && mount --rbind "$each" "$M$each"; done
  mount -t proc proc "$M/proc"
  exec chroot "$M" bash "$(realpath "$0")" "$1" inside "${@:2}"
fi
FOLDER=$1
shift 2
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /dev/shm
hostname desk
echo desk > /etc/hostname
printf '127.0.0.1 localhost\n10.78.0.1 desk\n' > /etc/hosts
ip link set lo up
ip link add geb type bridge && ip addr add 10.78.0.1/24 dev geb && ip link set geb up
printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
export DEBIAN_FRONTEND=noninteractive SGE_ROOT=/var/lib/gridengine SGE_CELL=default
for package in common client exec master; do
  printf "gridengine-$package shared/%s\n" "gridenginemaster string desk" "gridenginecell string default" \
    "gridengineconfig boolean true" | debconf-set-selections
done
dpkg --force-depends --force-confdef -i debs/lib*.deb debs/gridengine-common*.deb debs/gridengine-client*.deb \
  debs/gridengine-master*.deb debs/gridengine-exec*.deb > dpkg.log 2>&1
rm /usr/sbin/policy-rc.d
/etc/init.d/gridengine-master start > master.log 2>&1
as_manager() { su -s /bin/bash sgeadmin -c "EDITOR=/run/editor SGE_ROOT=$SGE_ROOT SGE_CELL=default $1" >> qconf.log 2>&1; }
for _ in $(seq 50); do as_manager "qconf -sh" && break; sleep 0.1; done
touch "$FOLDER/group.time"
printf 'group_name @allhosts\nhostlist desk\n' > /run/group
cat > /run/editor <<'X'
#!/bin/sh
# qconf takes a file that has not become newer for one that was not edited.
sleep 1
sed -i 's/^qname .*/qname all.q/; s/^hostlist .*/hostlist @allhosts/; s/^slots .*/slots 4/; s#^shell  *.*#shell /bin/bash#
s#^load_thresholds .*#load_thresholds none#; s#^pe_list .*#pe_list NONE#; s/^min_uid .*/min_uid 0/; s/^min_gid .*/min_gid 0/' "$1"
X
chmod 755 /run/editor
as_manager "qconf -am root"
as_manager "qconf -ah desk"
as_manager "qconf -as desk"
as_manager "qconf -au root users"
as_manager "qconf -Ahgrp /run/group"
as_manager "qconf -aq all.q"
as_manager "qconf -mconf global" # the user of this test is root
/etc/init.d/gridengine-exec start > exec.log 2>&1
for _ in $(seq 100); do qstat -f | grep -q lx-amd64 && break; sleep 0.1; done
cd "$FOLDER" || exit 1
delivered() { cat san/many-*/journal.jsonl 2> /dev/null | grep -c '"page_delivered"'; }
"$@" hosts --hosts hosts.toml --json > hosts.json
"$@" render --hosts hosts.toml --dpi 40 --encoder ghostscript -o out many.pdf & RENDER=$!
for _ in $(seq 900); do [ "$(delivered)" -ge 3 ] && break; sleep 0.1; done
qdel "$(qstat | awk 'NR == 3 { print $1 }').2"
for _ in $(seq 900); do grep -q '"drained"' san/many-*/journal.jsonl && break; sleep 0.1; done
touch go # the pages that wait (slow.py)
wait $RENDER
echo "exit $?"
"$@" hosts --hosts refused.toml --json > refused.json
echo "hosts $?"
"$@" render --hosts refused.toml --dpi 30 -o none many.pdf --json > none.json
echo "refused $?"
# What a runner writes into memory and temporary folders; the test's own folder is none of them.
left() { qstat; grep -lsz '[s]shrender-\(holder\|runner\)' /proc/[0-9]*/cmdline; find /dev/shm /run cover/upper -path '*tmp/*' -iname '*sshrender*'; }
for _ in $(seq 100); do [ -z "$(left 2> /dev/null)" ] && break; sleep 0.2; done
echo "left $(left 2> /dev/null | wc -l)"
left 2> /dev/null
