# Settings of this site, for whoever sources this file in the root of the checkout:  . slurm/env.sh
# Reads .env.local, loads its modules, and hands its Slurm settings on as SBATCH_* and SALLOC_*, so that a plain `sbatch` or
# `salloc` knows them too.
# What is already set in the environment wins over .env.local.

_env_flags=$-
set +u # neither module systems nor .env.local can be trusted to be clean under set -u

if [ -f .env.local ]; then
  _env_before=$(export -p)
  set -a
  . ./.env.local
  set +a
  _env_path=$PATH
  eval "$_env_before"
  export PATH=$_env_path
  unset _env_before _env_path
fi

if [ -n "$SITE_MODULES" ]; then
  if ! type module >/dev/null 2>&1; then
    for _env_file in /etc/profile.d/lmod.sh /etc/profile.d/modules.sh /usr/share/lmod/lmod/init/bash /usr/share/modules/init/bash; do
      [ -r "$_env_file" ] && . "$_env_file" && break
    done
    unset _env_file
  fi
  if type module >/dev/null 2>&1; then
    for _env_module in $SITE_MODULES; do
      module load "$_env_module" || { echo "module '$_env_module' cannot be loaded; mend SITE_MODULES in .env.local (module avail lists them)" >&2; return 2; }
    done
    unset _env_module
  else
    echo "note: SITE_MODULES is set but this machine has no module command; going on without" >&2
  fi
fi

# site setting -> the variables that sbatch and salloc read
_env_hand_on() {
  local site=$1 name
  shift
  for name in "$@"; do
    if [ -n "${!site}" ] && [ -z "${!name}" ]; then export "$name=${!site}"; fi
  done
}
_env_hand_on SITE_ACCOUNT SBATCH_ACCOUNT SALLOC_ACCOUNT
_env_hand_on SITE_PARTITION SBATCH_PARTITION SALLOC_PARTITION
_env_hand_on SITE_QOS SBATCH_QOS SALLOC_QOS
_env_hand_on SITE_CONSTRAINT SBATCH_CONSTRAINT SALLOC_CONSTRAINT
_env_hand_on SITE_RESERVATION SBATCH_RESERVATION SALLOC_RESERVATION
_env_hand_on SITE_GPUS SBATCH_GPUS_PER_NODE
_env_hand_on SITE_MEM SBATCH_MEM_PER_NODE
_env_hand_on SITE_TIME SBATCH_TIMELIMIT
unset -f _env_hand_on

case $_env_flags in *u*) set -u ;; esac
unset _env_flags
