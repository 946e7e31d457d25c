#!/bin/bash
# A Slurm of two nodes in name spaces of its own, and jobs over it. Everything ends with this process, which
# is process 1 of its world.
# usage: slurm.sh FOLDER PROGRAM...    prints what test_slurm.py reads; FOLDER holds many.pdf and slow/gs
set -u
cd "$1" || exit 1
shift
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mkdir -p /run/lock
hostname slurmbox
cp /etc/hosts hosts.file
echo "10.78.0.1 slurmbox" >> hosts.file
mount --bind hosts.file /etc/hosts
ip link set lo up
# Slurm binds to no address in a network that has the loopback alone.
ip link add slbr type bridge && ip addr add 10.78.0.1/24 dev slbr && ip link set slbr up
W=$PWD/slurm
mkdir -p "$W/state"
export SLURM_CONF=$W/slurm.conf
cat > "$SLURM_CONF" <<C
ClusterName=lab
SlurmctldHost=slurmbox(10.78.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=/run/munge/munge.socket.2,cred_expire=5
StateSaveLocation=$W/state
SlurmdSpoolDir=$W/spool.%n
SlurmctldPidFile=$W/slurmctld.pid
SlurmdPidFile=$W/slurmd.%n.pid
SlurmctldLogFile=$W/slurmctld.log
SlurmdLogFile=$W/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
JobCompType=jobcomp/none
AccountingStorageType=accounting_storage/none
SchedulerParameters=sched_min_interval=200000,batch_sched_delay=0
NodeName=n[1-2] NodeHostname=slurmbox NodeAddr=10.78.0.1 Port=[17001-17002] CPUs=4 State=UNKNOWN
PartitionName=render Nodes=ALL Default=YES MaxTime=INFINITE State=UP
C
echo "ConstrainCores=no" > "$W/cgroup.conf"
install -d -o munge -g munge /run/munge
[ -s /etc/munge/munge.key ] || exit 3
setpriv --reuid munge --regid munge --clear-groups munged --force --pid-file /run/munge/munged.pid \
  --log-file=/run/munge/munged.log --seed-file=/run/munge/seed
slurmctld
for n in n1 n2; do mkdir -p "$W/spool.$n"; slurmd -N $n; done
for _ in $(seq 600); do [ "$(timeout 2 sinfo -hNo %t | grep -c idle)" = 2 ] && break; sleep 0.1; done

delivered() { cat san/many-*/journal.jsonl 2> /dev/null | grep -c '"page_delivered"'; }
wait_for() { for _ in $(seq 900); do [ "$(delivered)" -ge "$1" ] && return; sleep 0.1; done; echo "never $1"; exit 1; }

"$@" hosts --hosts hosts.toml --json > hosts.json
PATH=$PWD/slow:$PATH "$@" render --hosts hosts.toml --dpi 40 -o out many.pdf > first.txt 2>&1 & COORDINATOR=$!
wait_for 3
kill -9 $COORDINATOR
PATH=$PWD/slow:$PATH "$@" resume --hosts hosts.toml many > second.txt 2>&1 & COORDINATOR=$!
wait_for 8
scancel "$(squeue -hro %i | head -1)"
kill "$(cat slurm/slurmctld.pid)"
wait_for 16
rm -f slurm/slurmctld.pid; slurmctld
wait $COORDINATOR
echo "exit $?"
for _ in $(seq 100); do [ -z "$(squeue -h)" ] && break; sleep 0.2; done
echo "queue $(squeue -h | wc -l)"
echo "holders $(grep -lsz '[s]shrender-holder' /proc/[0-9]*/cmdline | wc -l)"
