#!/bin/bash
# An HTCondor pool of one node in a Debian 13 of its own, and jobs over it. The program runs in there, too.
# usage: htcondorpool.sh make ROOT CHECKOUT    fetches Debian 13, HTCondor and the program into the folder ROOT
#        htcondorpool.sh run ROOT FOLDER       in new name spaces; FOLDER holds many.pdf, gs, *.toml; it is /srv/job
set -eu
ROOT=$2
ENVIRONMENT=(HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive
  PATH=/opt/sshrender/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)
enter() { chroot "$ROOT" env -i "${ENVIRONMENT[@]}" "$@"; }

if [ "$1" = make ]; then
  site=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | head -1)
  debootstrap --variant=minbase --include=ca-certificates,python3-venv,ghostscript,libisal2,iproute2,procps,openssh-server \
    trixie "$ROOT" "$site"
  printf '#!/bin/sh\nexit 101\n' > "$ROOT/usr/sbin/policy-rc.d"
  chmod 755 "$ROOT/usr/sbin/policy-rc.d"
  cp /etc/resolv.conf "$ROOT/etc/"
  cp /etc/ssl/certs/ca-certificates.crt "$ROOT/etc/ssl/certs/"
  [ ! -f /etc/pip.conf ] || cp /etc/pip.conf "$ROOT/etc/"
  mkdir "$ROOT/src"
  tar -C "$3" --exclude=.git --exclude='.venv*' --exclude='.*_cache' --exclude=.hypothesis -c . | tar -C "$ROOT/src" -x
  ENVIRONMENT+=(${PIP_CERT:+PIP_CERT=/etc/ssl/certs/ca-certificates.crt})
  enter apt-get update
  enter apt-get install -y --no-install-recommends minicondor
  enter python3 -m venv /opt/sshrender
  enter pip install --quiet --requirement /src/requirements.lock
  enter pip install --quiet --no-deps /src
  enter useradd --create-home --shell /bin/bash ann
  # What is not possible in a chroot: to hide /tmp and /dev/shm from jobs by mounts.
  printf '%s\n' 'NUM_CPUS = 4' 'MEMORY = 8000' 'DISK = 4000000' 'START = TRUE' 'PREEMPT = FALSE' 'SUSPEND = FALSE' \
    'MOUNT_UNDER_SCRATCH =' 'MOUNT_PRIVATE_DEV_SHM = FALSE' > "$ROOT/etc/condor/config.d/99-test"
  exit
fi

if [ "$$" != 1 ]; then
  exec unshare --mount --net --pid --uts --ipc --fork --kill-child bash "$0" "$@"
fi
mount --make-rprivate /
mount -t proc proc "$ROOT/proc"
mount -t sysfs sysfs "$ROOT/sys"
mount --rbind /dev "$ROOT/dev"
mount -t tmpfs -o mode=1777 tmpfs "$ROOT/dev/shm"
mount -t tmpfs -o mode=1777 tmpfs "$ROOT/tmp"
mount -t tmpfs tmpfs "$ROOT/run"
mkdir -p "$ROOT/srv/job" "$ROOT/run/lock" "$ROOT/run/sshd"
mount --bind "$3" "$ROOT/srv/job"
hostname desk
printf '127.0.0.1 desk localhost\n' > "$ROOT/etc/hosts"
: > "$ROOT/etc/resolv.conf" # no name server can be reached from here
ip link set lo up
enter install -d -o condor -g condor /run/condor /run/lock/condor
enter install -d -o ann -g ann -m 0700 /srv/job/san /srv/job/home
enter condor_master
enter chown ann /srv/job
as_ann() { enter setpriv --reuid ann --regid ann --init-groups env HOME=/srv/job/home bash -c "cd /srv/job; $1"; }
for _ in $(seq 600); do [ "$(as_ann 'timeout 5 condor_status -af Machine')" = desk ] && break; sleep 0.2; done
until_true() { for _ in $(seq 1200); do as_ann "$1" > /dev/null 2>&1 && return; sleep 0.2; done; echo "never: $1"; }

as_ann 'sshrender hosts --hosts files.toml --json > hosts.json'
# Reached through files; one of the two pilots is removed, and the coordinator is killed.
as_ann 'echo $BASHPID > render.pid; exec sshrender render --hosts files.toml --dpi 40 --encoder ghostscript -o files many.pdf' &
until_true '[ "$(cat san/many-*/journal.jsonl | grep -c page_delivered)" -ge 3 ]'
as_ann 'condor_rm "$(condor_q -af ClusterId | head -1).1"'
until_true 'grep -q "\"removed\"" san/many-*/journal.jsonl'
as_ann 'kill -KILL "$(cat render.pid)"'
wait || true
touch "$3/go"
as_ann "sshrender resume --hosts files.toml many" && code=0 || code=$?
echo "resume $code"
# Reached by condor_ssh_to_job.
as_ann 'sshrender render --hosts pipe.toml --dpi 41 -o pipe many.pdf' && code=0 || code=$?
echo "pipe $code"
# The only node is drained, so waiting pilots exclude it; then it is put back into use.
rm "$3/go"
as_ann 'sshrender render --hosts files.toml --dpi 42 -o drained many.pdf' &
until_true '[ "$(cat $(grep -l "dpi\": 42" san/many-*/job.json | xargs dirname)/journal.jsonl | grep -c page_delivered)" -ge 3 ]'
as_ann 'sshrender drain --hosts files.toml desk --note "new disk"'
until_true '[ "$(condor_q -constraint "JobStatus == 1" -af:r Requirements | grep -c desk)" -ge 1 ]'
touch "$3/go"
as_ann 'sshrender undrain --hosts files.toml desk'
wait $! && code=0 || code=$?
echo "drained $code"
# A pool that no node can serve says so, and its job leaves nothing in the queue.
as_ann 'echo $BASHPID > none.pid; exec sshrender render --hosts none.toml --dpi 43 -o none many.pdf > none.log 2>&1' &
until_true 'grep -q "no match found" none.log'
as_ann 'kill -INT "$(cat none.pid)"'
wait $! && code=0 || code=$?
echo "none $code"
until_true '[ -z "$(condor_q -af ClusterId)" ]'
as_ann 'gs -q -dSAFER -dBATCH -dNOPAUSE -sDEVICE=png16m -r40 -dTextAlphaBits=4 -dGraphicsAlphaBits=4 -sOutputFile=plain-%04d.png many.pdf'
left() { grep -lsz '[s]shrender-\(holder\|runner\)' "$ROOT"/proc/[0-9]*/cmdline; find "$ROOT/dev/shm" "$ROOT/run" "$ROOT/tmp" -iname '*sshrender*'; }
for _ in $(seq 100); do [ -z "$(left)" ] && break; sleep 0.2; done
echo "left $(left | wc -l)"
left || true
