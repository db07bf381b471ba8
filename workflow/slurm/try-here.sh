#!/usr/bin/env bash
# `nseg reproduce --slurm` on a real Slurm of one node, in a Debian container, as root:
#
#   make setup && bash workflow/slurm/try-here.sh           # QUICK=1: two chapters, not all
#
# Installs Slurm from Debian's packages, starts its daemons without systemd, and runs two networks
# with two seeds on a copy of this checkout. On the way it kills a training with scancel, and then
# the command itself; started again, the command must go on and finish. All but /etc/slurm/slurm.conf
# lies in one temporary folder. Both go with the daemons at the end; after a failure the folder stays.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
models=tiny16-32_bce-dice,res16-32_bce-dice

fail() { printf 'try-here.sh: %s\n' "$*" >&2; exit 1; }
say() { printf '\n== %s\n' "$*"; }

[ "$(id -u)" = 0 ] || fail "must run as root, in a container or a virtual machine of its own"
command -v apt-get >/dev/null || fail "apt-get is missing: this is for Debian and Ubuntu"
[ -x "$root/.venv/bin/nseg" ] || fail "$root/.venv is missing: run 'make setup' first"
[ ! -e /etc/slurm/slurm.conf ] || fail "/etc/slurm/slurm.conf exists: this machine has a Slurm already"
if ! command -v slurmctld slurmd munged sbatch >/dev/null; then
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
    --no-install-recommends slurmctld slurmd slurm-client munge; } >/dev/null ||
    fail "apt-get could not install slurmctld, slurmd, slurm-client and munge"
fi

# --- a cluster of one node, all of it in one folder -----------------------------------------------

work=$(mktemp -d /tmp/nseg-slurm.XXXXXX)
running=() # the daemons' process numbers
command_id=

clean_up() {
  status=$?
  trap - EXIT INT TERM
  if [ -n "$command_id" ]; then # it cancels its jobs
    kill "$command_id" 2>/dev/null || true
    wait "$command_id" || true
  fi
  scancel --user=root 2>/dev/null || true
  for _ in {1..40}; do [ -z "$(squeue -h 2>/dev/null)" ] && break; sleep 1; done
  for signal in TERM KILL; do # the last one started first
    for ((i = ${#running[@]} - 1; i >= 0; i--)); do
      kill -$signal "${running[i]}" 2>/dev/null || true
      for _ in {1..20}; do kill -0 "${running[i]}" 2>/dev/null || break; sleep 0.2; done
    done
  done
  rm -f /etc/slurm/slurm.conf
  if [ "$status" = 0 ]; then rm -rf "$work"; else echo "failed; logs are in $work" >&2; fi
  exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

mkdir -p /etc/slurm "$work/state" "$work/spool" "$work/munge"
chmod 755 "$work" # of mktemp's 700, munge says that clients cannot reach its socket
dd if=/dev/urandom of="$work/munge/key" bs=1024 count=1 status=none
chmod 400 "$work/munge/key"
cpus=$(env -u OMP_NUM_THREADS nproc) # which it would take for the number of processors
memory=$(awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo)
# No cgroups and no accounting database, which a container does not have. The file lies where Slurm
# looks by itself: Snakemake's executor keeps SLURM_CONF from its jobs.
cat >/etc/slurm/slurm.conf <<CONF
ClusterName=try
SlurmctldHost=$(hostname)(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$work/munge/socket
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
ReturnToService=2
NodeName=$(hostname) NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$memory State=UNKNOWN
PartitionName=all Nodes=$(hostname) Default=YES MaxTime=INFINITE State=UP
CONF

munged --foreground --force --num-threads=1 --key-file="$work/munge/key" \
  --socket="$work/munge/socket" --pid-file="$work/munge/pid" --seed-file="$work/munge/seed" \
  --log-file="$work/munged.log" 2>"$work/munged.err" &
running+=($!)
for _ in {1..50}; do [ -S "$work/munge/socket" ] && break; sleep 0.2; done
slurmctld -D >"$work/slurmctld.log" 2>&1 &
running+=($!)
slurmd -D >"$work/slurmd.log" 2>&1 &
running+=($!)
for _ in {1..60}; do [ "$(sinfo -h -o %t 2>/dev/null)" = idle ] && break; sleep 0.5; done
[ "$(sinfo -h -o %t 2>/dev/null)" = idle ] || fail "the node of Slurm did not come up"
say "$(sinfo --version), $cpus CPUs: $(srun -n 1 hostname) answers"

# --- a copy of the checkout, two networks × two seeds ---------------------------------------------

copy=$work/nseg
mkdir "$copy"
tar -C "$root" -c --exclude=__pycache__ nseg_lib reproduction workflow notebooks reports \
  benchmarks pyproject.toml constraints.txt | tar -C "$copy" -x
cd "$copy"
rm -rf reports/smoke
[ -z "${QUICK:-}" ] || find notebooks -name '[0-9][0-9]_*' ! -name '0[19]_*' -delete
# Thirty epochs, so that a killed training has some to go on from.
sed -i 's/training.epochs: 1}/training.epochs: 30}/' workflow/profiles/smoke.yml
printf 'seeds: [42, 43]\nmemory: 1000\n' >>workflow/profiles/smoke.yml
printf 'slurm-status-command: squeue\nslurm-init-seconds-before-status-checks: 5\n' \
  >>workflow/slurm/config.yaml
sed -i 's/latency-wait: 60/latency-wait: 5/' workflow/slurm/config.yaml
export PYTHONPATH=$copy OMP_NUM_THREADS=1
nseg=("$root/.venv/bin/python" -m reproduction.commands reproduce
  --profile smoke --models "$models" --slurm)

start() { "${nseg[@]}" >>"$work/console.log" 2>&1 & command_id=$!; }
until_said() { # FILE PATTERN: wait until a line of a file matches
  for _ in {1..1200}; do
    grep -qsE "$2" $1 && return
    kill -0 "$command_id" 2>/dev/null || break
    sleep 0.5
  done
  grep -qsE "$2" $1 || fail "'$2' was not said; see $1"
}
trainings() { squeue -h -r -t R -o '%i %k' | awk '/rule_train/ {print $1}'; }

say "start; a training is killed by scancel, and Snakemake starts it once more"
start
until_said "reports/smoke/logs/train_*.log" 'epoch   3'
victim=$(trainings | head -n 1)
squeue -r -o '%.8i %.8T %k'
scancel "$victim"
echo "scancel $victim"
until_said reports/smoke/logs/snakemake.log "SLURM-job '$victim' failed"

say "the command itself is killed while its jobs run, and started again"
for _ in {1..600}; do [ -n "$(trainings)" ] && break; sleep 0.2; done
sleep 5
kill -KILL "$command_id"
wait "$command_id" || true
squeue -r -o '%.8i %.8T %k'
start
wait "$command_id" || fail "the command did not finish; see $work/console.log"
command_id=

say "what the command said"
cat "$work/console.log"
say "what Snakemake said of Slurm"
grep -hE 'SLURM run ID|[Aa]rray job|SLURM-job|Trying to restart' reports/smoke/logs/snakemake.log
say "what the last start of each training said"
for file in reports/smoke/logs/train_*.log; do
  echo "$(basename "$file"): epochs $(grep -ohE 'epoch +[0-9]+' "$file" | awk '{printf "%s ", $2}')"
done
again=$("${nseg[@]}")
printf '%s\n' "$again"
grep -q 'nothing to do' <<<"$again" || fail "the second run found something to do"
say "one network by two processes: started by nseg itself, by srun and by torchrun"
train=(-m reproduction.commands train tiny16-32_bce-dice --data data/smoke --accelerator cpu
  --devices 2 --workers 0 --set training.epochs=2 --set data.scale=0.5)
"$root/.venv/bin/python" "${train[@]}" --out "$work/two/plainly"
srun --nodes 1 --ntasks-per-node 2 --overcommit \
  "$root/.venv/bin/python" "${train[@]}" --out "$work/two/srun"
"$root/.venv/bin/torchrun" --nproc-per-node 2 "${train[@]}" --out "$work/two/torchrun"
(cd "$work/two" && sha256sum ./*/weights.safetensors)
[ "$(sha256sum "$work"/two/*/weights.safetensors | cut -d' ' -f1 | uniq | wc -l)" = 1 ] ||
  fail "the three networks differ"
say "done after $SECONDS s"
