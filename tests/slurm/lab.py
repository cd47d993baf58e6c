"""A real Slurm cluster in one process tree: a login node with the controller, and compute nodes that pose as 8 A100s each.

Every node has its own network, hostname, processes and /dev/shm; no node reaches anything outside. Nothing of it needs
systemd, munge or a database, an ordinary user can start it where user namespaces are allowed, and one SIGKILL ends it
with all that runs in it.

    lab = Lab(folder).start()
    job = lab.submit("slurm/speedrun.slurm", cwd=checkout)
    lab.wait(job)["JobState"]
"""

import ctypes
import os
import pwd
import shutil
import signal
import stat
import subprocess
import time
from pathlib import Path

NODES = {"gpu01": "10.77.0.11", "gpu02": "10.77.0.12"}
LOGIN, BRIDGE = "10.77.0.1", "10.77.0.1/24"
PARTITION, ACCOUNT, GPUS = "gpu-a100", "class-xyz", 8
TOOLS = ("slurmctld", "slurmd", "sbatch", "srun", "scontrol", "sinfo", "unshare", "nsenter", "ip", "awk")
ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"}

# Delays are short, since tests wait for them: a requeued job waits for `cred_expire`, a dead node is noticed after SlurmdTimeout.
SLURM_CONF = """
ClusterName=lab
SlurmctldHost=login({login})
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
AuthInfo=cred_expire=5
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd.%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.%n.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
ProctrackType=proctrack/linuxproc
JobAcctGatherType=jobacct_gather/linux
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/log/jobcomp.txt
JobSubmitPlugins=lua
MailProg={folder}/etc/mail
SchedulerParameters=batch_sched_delay=0,sched_min_interval=50000,sched_interval=2,bf_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
EnforcePartLimits=ALL
GresTypes=gpu
DefMemPerCPU=2000
ReturnToService=2
SlurmdTimeout=8
KillWait=10
MinJobAge=3600
{nodes}
PartitionName={partition} Nodes=ALL Default=YES MaxTime=2-00:00:00 DefaultTime=00:10:00 State=UP
"""
NODE = (
    "NodeName={name} NodeAddr={address} Sockets=2 CoresPerSocket=64 ThreadsPerCore=1 RealMemory=1000000 "
    "Feature=a100 Gres=gpu:a100:{gpus} State=UNKNOWN"
)

# Without a database nobody has accounts: a rule of the site refuses all but one.
JOB_SUBMIT = """
function slurm_job_submit(job, partitions, user)
  if job.account ~= "{account}" then
    slurm.log_user("account '%s' may not use this partition", tostring(job.account))
    return slurm.ESLURM_INVALID_ACCOUNT
  end
  return slurm.SUCCESS
end
function slurm_job_modify(job, record, partitions, user) return slurm.SUCCESS end
return slurm.SUCCESS
"""

MAIL = """#!/bin/sh
for word in "$@"; do printf '[%s] ' "$word"; done >>{folder}/log/mail; echo >>{folder}/log/mail
"""

# The first process of the lab. It starts the controller and the nodes, and then does what is written into run/control.
LOGIN_NODE = """#!/bin/bash
cd {folder}
export SLURM_CONF={folder}/etc/slurm.conf
declare -A node
hostname login
mount --bind etc/hosts /etc/hosts
ip link set lo up
ip link add bridge type bridge
ip addr add {bridge} dev bridge
ip link set bridge up
up() {{
  local pid address
  address=$(awk -v name=$1 '$2 == name {{print $1}}' etc/hosts)
  mkdir -p spool/$1
  ip link del to-$1 2>/dev/null
  unshare --net --uts --mount --pid --fork --kill-child --mount-proc etc/compute-node $1 $address >>log/$1.out 2>&1 &
  pid=$!
  node[$1]=$pid
  until [ "$(readlink /proc/$pid/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.02; done
  ip link add to-$1 type veth peer name eth0 netns $pid
  ip link set to-$1 master bridge up
}}
slurmctld -D >log/slurmctld.out 2>&1 &
for name in {names}; do up $name; done
mkfifo run/control
exec 3<>run/control
while read -r order name <&3; do
  case $order in
    crash) kill -9 ${{node[$name]}} ;;
    up) up $name ;;
  esac
done
"""

# The first process of a compute node: only SIGKILL, a loss of power, ends it.
COMPUTE_NODE = """#!/bin/bash
hostname $1
until ip link show eth0 >/dev/null 2>&1; do sleep 0.02; done
ip link set lo up
ip addr add $2/24 dev eth0
ip link set eth0 up
mount -t tmpfs -o size=1g,mode=1777 tmpfs /dev/shm
slurmd -D -N $1 &
while :; do wait -n 2>/dev/null || sleep 1; done
"""


def lacking() -> str:
    """Why this machine cannot run the lab, "" if it can."""
    absent = [tool for tool in TOOLS if not shutil.which(tool)]
    if absent:
        return f"there is no {', '.join(absent)} here (Debian: apt-get install slurmctld slurmd slurm-client iproute2)"
    probe = subprocess.run([*_unshare(), "sh", "-c", "ip link add bridge type bridge"], capture_output=True, text=True)
    return f"this machine allows no namespaces with a network of their own: {probe.stderr.strip()}" if probe.returncode else ""


def _unshare() -> list[str]:
    user = [] if os.getuid() == 0 else ["--user", "--map-current-user", "--keep-caps"]
    return ["unshare", *user, "--net", "--uts", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]


def _die_with_parent() -> None:
    """In the new process: asks Linux for a SIGKILL when this one dies, so that tests that are killed leave no cluster behind."""
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Lab:
    """The cluster in `folder`. Commands run on its login node; jobs see the file systems of this machine."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        for name in ("etc", "run", "log", "state", "spool", "dev"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "SBATCH_", "SITE_", "MAIL_", "NANOCHAT_"))}
        self.environment["SLURM_CONF"] = str(self.folder / "etc" / "slurm.conf")
        self._write()

    def _write(self) -> None:
        values = {"folder": self.folder, "user": pwd.getpwuid(os.getuid()).pw_name, "login": LOGIN, "bridge": BRIDGE,
                  "partition": PARTITION, "account": ACCOUNT, "names": " ".join(NODES)}  # fmt: skip
        nodes = "\n".join(NODE.format(name=name, address=address, gpus=GPUS) for name, address in NODES.items())
        hosts = "".join(f"{address} {name}\n" for name, address in NODES.items())
        texts = {
            "slurm.conf": SLURM_CONF.format(nodes=nodes, **values),
            "job_submit.lua": JOB_SUBMIT.format(**values),
            "cgroup.conf": "CgroupPlugin=autodetect\n",
            "gres.conf": f"NodeName={','.join(NODES)} Name=gpu Type=a100 File={self._devices()}[0-{GPUS - 1}]\n",
            "hosts": f"127.0.0.1 localhost\n{LOGIN} login\n{hosts}",
            "mail": MAIL.format(**values),
            "login-node": LOGIN_NODE.format(**values),
            "compute-node": COMPUTE_NODE,
        }
        for name, text in texts.items():
            path = self.folder / "etc" / name
            path.write_text(text.lstrip("\n"))
            path.chmod(0o755 if text.startswith("#!") else 0o644)

    def _devices(self) -> str:
        """Character devices that pose as GPUs: clones of /dev/null, or for who may not make any, existing terminals."""
        if os.getuid() != 0:
            return "/dev/tty"
        for number in range(GPUS):
            path = self.folder / "dev" / f"gpu{number}"
            if not path.exists():
                os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        return str(self.folder / "dev" / "gpu")

    def start(self, seconds: float = 30) -> "Lab":
        """Starts everything and waits until all nodes are idle."""
        output = open(self.folder / "log" / "lab.out", "w")
        command = [*_unshare(), str(self.folder / "etc" / "login-node")]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": subprocess.STDOUT}
        self.process = subprocess.Popen(command, env=self.environment, start_new_session=True, preexec_fn=_die_with_parent, **pipes)
        end = time.time() + seconds
        while time.time() < end and self.process.poll() is None:
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
            if children:
                self.first = children[0]
                if self.run("timeout", "2", "sinfo", "-h", "-N", "-o", "%T", check=False).stdout.split() == ["idle"] * len(NODES):
                    return self
            time.sleep(0.1)
        self.stop()
        raise RuntimeError("the lab did not start:\n" + "".join(p.read_text()[-2000:] for p in (self.folder / "log").glob("*.out")))

    def stop(self) -> None:
        """Ends the lab and all that runs in it."""
        self.process.kill()
        self.process.wait()

    def run(self, *words, cwd: Path | None = None, check: bool = True, **environment: str) -> subprocess.CompletedProcess:
        """Runs a command on the login node."""
        same_user = [] if os.getuid() == 0 else ["-U", "--preserve-credentials"]
        enter = ["nsenter", "-t", self.first, "-n", "-u", "-m", *same_user, f"--wdns={cwd or self.folder}"]
        done = subprocess.run(
            [*enter, *map(str, words)], text=True, capture_output=True, env={**self.environment, **environment}, timeout=120
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def job(self, job: str) -> dict[str, str]:
        """What `scontrol show job` says."""
        words = self.run("scontrol", "-o", "show", "job", job).stdout.split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def wait(self, job: str, states=ENDED, seconds: float = 120) -> dict[str, str]:
        """Waits until the job is in one of `states`; its description then."""
        end = time.time() + seconds
        while True:
            found = self.job(job)
            if found["JobState"] in states:
                return found
            if time.time() > end:
                raise AssertionError(f"job {job} is {found['JobState']} after {seconds} s: {found}")
            time.sleep(0.2)

    def order(self, *words: str) -> None:
        """Has the lab's first process do something: `crash gpu02`, `up gpu02`."""
        (self.folder / "run" / "control").write_text(" ".join(words) + "\n")

    def crash(self, node: str) -> None:
        """Takes a node's power away, and tells the controller, which would notice by itself after some seconds."""
        self.order("crash", node)
        self.run("scontrol", "update", f"nodename={node}", "state=down", "reason=crash")
