# Which jobs work in a base directory: <base>/slurm/jobs has a line for each that was submitted or began there, its id and what it
# runs. Sourced by slurm/submit.sh and slurm/job.sh.

base_dir() { realpath -m -- "${NANOCHAT_BASE_DIR:-$HOME/.cache/nanochat}"; }

# remember JOB slurm/SCRIPT.slurm ARGUMENTS...: writes the job down. Elements of a sweep are in nobody's way.
remember() {
  local what=${2#slurm/} list
  what=${what%.slurm}
  [ "$what" != sweep ] || return 0
  [ "$what" != stage ] || what="stage ${3:-}"
  list=$(base_dir)/slurm/jobs
  grep -qs "^$1 " "$list" || { mkdir -p "${list%/*}" && echo "$1 $what" >>"$list"; } 2>/dev/null || true # a note, no reason to fail
}

# in_the_way SCRIPT STAGE: names a job that waits or runs and does the same work in this base directory; 1 if there is one.
in_the_way() {
  local list id state what
  list=$(base_dir)/slurm/jobs
  [ -f "$list" ] || return 0
  while read -r id state; do
    what=$(sed -n "s/^${id:-none} //p" "$list" | tail -n 1)
    case $1:$what in
      *: | "stage:stage "*) [ "$1:$what" = "stage:stage $2" ] || continue ;;
    esac
    echo "not submitted: job $id ($what) is $state and works in $(base_dir) already; wait for it, or stop it first: scancel $id" >&2
    return 1
  done <<<"$(timeout 60 squeue -h -u "$(id -un)" -t PENDING,RUNNING,SUSPENDED -o '%i %T' 2>/dev/null || true)"
}
