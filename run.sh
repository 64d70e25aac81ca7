#!/usr/bin/env bash
# Checks that this machine can run the lab, says everything that is missing and the command that gets it, then starts it: ./run.sh
# With --check it only looks (this is `make doctor`): it changes nothing, and ends with 0 when the lab can be started, otherwise with 1.
# With --choose it prints which sandbox `make up` takes here, and says why; with --chosen it only prints it.
#
# It asks for nothing but bash and the usual small tools, for it is the first thing that runs on a bare machine. Variables are those of
# `make up`: SANDBOX, SANDBOX_CPUS, SANDBOX_MEMORY, BROKERS, AGENT, KUBECONFIG, and the ports below.
set -euo pipefail

readonly GIB=$((1024 * 1024)) # in KiB, the unit of df and /proc/meminfo
readonly GO_RELEASE=1.26.8    # what is offered where Go is missing

packages=() # Debian packages to install
problems=0

ok() { printf '  ok       %s\n' "$1"; }
note() { printf '  note     %s\n' "$1"; }
# problem WHAT COMMAND: the second line is what to do, ready to be copied where it is a command.
problem() {
  problems=$((problems + 1))
  printf '  NEEDED   %s\n           %s\n' "$1" "$2"
}

have() { command -v "$1" >/dev/null 2>&1; }

sandbox=${SANDBOX:-}
because="as asked for"
# choose takes what was asked for, then what is up, then Docker with Compose where both answer.
choose() {
  if [[ -n $sandbox ]]; then
    :
  elif [[ -d .lab/state ]]; then
    sandbox=embedded because="it is up, or was not taken down"
  elif [[ -d .lab/compose ]]; then
    sandbox=compose because="it is up, or was not taken down"
  elif [[ -d .lab/k3d ]]; then
    sandbox=k3d because="it is up, or was not taken down"
  elif [[ -n ${AGENT:-} ]]; then
    sandbox=embedded because="an agent has the wheel there only"
  elif ! have docker; then
    sandbox=embedded because="there is no Docker"
  elif ! docker_answers; then
    sandbox=embedded because="no Docker daemon answers"
  elif ! docker compose version >/dev/null 2>&1; then
    sandbox=embedded because="Docker has no Compose (its plugin docker-compose-plugin)"
  else
    sandbox=compose because="Docker $docker_version answers; SANDBOX=embedded does without"
  fi
  case $sandbox in
    embedded | compose | existing | k3d) ;;
    *)
      echo "SANDBOX: embedded, compose, k3d or existing (got \"$sandbox\")" >&2
      return 2
      ;;
  esac
}

# A daemon that hangs is none.
docker_answers() { docker_version=$(timeout 10 docker version --format '{{.Server.Version}}' 2>/dev/null) && [[ -n $docker_version ]]; }

# as_root COMMAND: the command as this user has to type it.
as_root() {
  if ((EUID == 0)); then
    echo "$1"
  elif have sudo; then
    echo "sudo $1"
  else
    echo "su -c '$1'"
  fi
}

# at_least HAVE WANT compares versions such as 1.26.8.
at_least() { [[ $(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1) == "$2" ]]; }

# want_package PACKAGE WHAT
want_package() {
  packages+=("$1")
  if have apt-get; then
    problem "$2" "$(as_root "apt-get install -y $1")"
  else
    problem "$2" "install it with this system's package manager (Debian calls the package $1)"
  fi
}

check_system() {
  local os
  os=$(uname -s)
  if [[ $os != Linux ]]; then
    problem "Linux (this is $os): the embedded sandbox uses containers, and they are Linux" \
      "on a Linux machine or in a virtual machine: ./run.sh; or with a cluster of your own: SANDBOX=existing KUBECONFIG=... make up"
    return
  fi
  ok "Linux $(uname -r) on $(uname -m)"
  if [[ ! -e /sys/fs/cgroup/cgroup.controllers && ! -d /sys/fs/cgroup/cpu ]]; then
    problem "control groups are not mounted on /sys/fs/cgroup" "$(as_root 'mount -t cgroup2 none /sys/fs/cgroup')"
  fi
}

check_root() {
  if ((EUID == 0)); then
    ok "root"
  elif have sudo; then
    ok "sudo (the sandbox needs root for containers and a network of their own)"
  else
    problem "root, or sudo: the sandbox needs it for containers and a network of their own" "su -c './run.sh'"
  fi
}

# go_wanted is the newest version that one of the modules asks for.
go_wanted() { find . -path ./.lab -prune -o -name go.mod -exec awk '$1 == "go" {print $2}' {} + | sort -V | tail -n 1; }

check_go() {
  local want version arch get
  want=$(go_wanted)
  arch=$(uname -m)
  arch=${arch/x86_64/amd64}
  arch=${arch/aarch64/arm64}
  get="curl -fsSL https://go.dev/dl/go$GO_RELEASE.linux-$arch.tar.gz | $(as_root 'tar -C /usr/local -xz') && export PATH=/usr/local/go/bin:\$PATH"
  if ! have go; then
    problem "Go $want or newer" "$get"
    return
  fi
  # GOTOOLCHAIN=local: its own version, and not that of a toolchain which it would first have to fetch.
  version=$(cd / && GOTOOLCHAIN=local go env GOVERSION 2>/dev/null) || version=unknown
  version=${version#go}
  if at_least "$version" "$want"; then
    ok "Go $version"
  elif at_least "$version" 1.21 && [[ $(cd / && go env GOTOOLCHAIN) != local ]]; then
    ok "Go $version (it fetches $want by itself)"
  else
    problem "Go $want or newer (this is $version)" "$get"
  fi
}

check_java() {
  local version
  if ! have java; then
    want_package default-jre-headless "Java 17 or newer, which Maven runs on"
  elif version=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1) && [[ -n $version ]]; then
    if ((version >= 17)); then
      ok "Java $version"
    else
      want_package default-jre-headless "Java 17 or newer (this is $version), which Maven runs on"
    fi
  else
    problem "a Java that says its version (java -version did not)" "java -version   # shows what is wrong with $(command -v java)"
  fi
  if have mvn; then ok "Maven"; else want_package maven "Maven, which fetches Kafka"; fi
}

check_docker() {
  if ! have docker; then
    problem "Docker" "see https://docs.docker.com/engine/install, or do without: unset SANDBOX"
  elif ! docker_answers; then
    problem "a Docker daemon that answers (docker version says why it does not)" "docker version"
  else
    ok "Docker $docker_version"
    if [[ $sandbox == compose ]] && ! docker compose version >/dev/null 2>&1; then
      want_package docker-compose-plugin "Compose, version 2: Docker's plugin"
    fi
  fi
}

check_make() {
  if have make; then ok "make"; else want_package make "make"; fi
}

# The programs of the sandbox's Debian packages, and the package of each.
check_sandbox_packages() {
  local entry program missing=()
  for entry in containerd runc /usr/lib/cni/bridge=containernetworking-plugins iptables nft=nftables conntrack ip=iproute2 \
    nsenter=util-linux mount debootstrap buildah; do
    program=${entry%%=*}
    # /usr/sbin is not in everybody's PATH.
    PATH=$PATH:/usr/sbin:/sbin have "$program" || missing+=("${entry##*=}")
  done
  if ((${#missing[@]} == 0)); then
    ok "the Debian packages of the sandbox"
  elif have apt-get; then
    note "make up installs: ${missing[*]}"
    note "  to do it yourself: $(as_root "apt-get install -y --no-install-recommends ${missing[*]}")"
  else
    problem "${missing[*]}" "install them with this system's package manager (these are Debian's names)"
  fi
}

# listening PORT: somebody listens on it, on loopback or on all addresses. Read from the kernel, so that no tool is needed.
listening() {
  local tables=(/proc/net/tcp)
  if [[ -e /proc/net/tcp6 ]]; then tables+=(/proc/net/tcp6); fi
  awk -v port="$(printf '%04X' "$1")" '
    $4 == "0A" {
      split($2, a, ":")
      if (a[2] == port && a[1] ~ /^(0100007F|0+|0000000000000000FFFF00000100007F)$/) found = 1
    }
    END { exit !found }' "${tables[@]}"
}

check_ports() {
  local entry name variable port who free=()
  for entry in Kubernetes:API_PORT:6443 Kafka:KAFKA_PORT:9092 Prometheus:PROMETHEUS_PORT:9090 exporter:EXPORTER_PORT:9308 \
    loadgen:LOADGEN_PORT:9400 tuner:TUNER_PORT:9500; do
    IFS=: read -r name variable port <<<"$entry"
    port=${!variable:-$port}
    if [[ ! $port =~ ^[1-9][0-9]{0,4}$ ]] || ((port > 65535)); then
      problem "$variable: a port from 1 to 65535 (got \"$port\")" "unset $variable"
    elif listening "$port"; then
      who=$(ss -Hltnp "sport = :$port" 2>/dev/null | sed -n 's/.*users:(("\([^"]*\)",pid=\([0-9]*\).*/ by \1 (pid \2)/p' | head -n 1) || who=
      problem "port $port for $name: it is in use$who" "end what listens there, or choose another: export $variable=$((port < 60000 ? port + 1000 : port - 1000))"
    else
      free+=("$port")
    fi
  done
  if ((${#free[@]})); then ok "free ports: ${free[*]}"; fi
}

check_disk() {
  local want=12 free
  [[ -x .lab/bin/kube ]] && want=8 # the build's own share is taken already
  # A lab that is up has taken its share too. Its socket's file alone says nothing: it outlives a supervisor that was killed.
  grep -q ' /run/kafkalab/supervisor.sock$' /proc/net/unix 2>/dev/null && want=1
  free=$(df -Pk . | awk 'NR == 2 {print $4}')
  if ((free >= want * GIB)); then
    ok "disk: $((free / GIB)) GiB free"
  else
    problem "disk: $((free / 1024)) MiB free in $PWD, $want GiB are needed" "du -xh --max-depth=2 ~ 2>/dev/null | sort -h | tail   # shows what takes the room"
  fi
}

check_memory() {
  local total
  total=$(awk '$1 == "MemTotal:" {print $2}' /proc/meminfo)
  # A machine sold as 4 GiB has a little less.
  if ((total >= 4 * GIB * 95 / 100)); then
    ok "memory: $((total / 1024)) MiB"
  else
    problem "memory: this machine has $((total / 1024)) MiB, 4 GiB are needed" "use a larger machine, or a cluster of your own: SANDBOX=existing KUBECONFIG=... make up"
  fi
}

# check_agent looks whether a model could be asked. Which key is wanted for which model is for make up to say.
check_agent() {
  if [[ ${AGENT:-} != vibectl ]]; then return; fi
  if [[ -n ${ANTHROPIC_API_KEY:-}${ANTHROPIC_API_KEY_FILE:-}${OPENAI_API_KEY:-}${OPENAI_API_KEY_FILE:-}${AGENT_ADDRESS:-} ]]; then
    ok "a key, or an address, for the agent's model"
  else
    problem "a key for the agent's model" "export ANTHROPIC_API_KEY=...   # or OPENAI_API_KEY, or either with _FILE; or AGENT=scripted"
  fi
}

check_kubeconfig() {
  local file=${KUBECONFIG:-$HOME/.kube/config}
  if [[ -r $file ]]; then
    ok "kubeconfig $file"
  else
    problem "a kubeconfig: $file cannot be read" "export KUBECONFIG=/path/to/kubeconfig"
  fi
}

check_all() {
  case $sandbox in
    embedded)
      check_system
      if [[ $(uname -s) != Linux ]]; then return; fi
      check_root
      check_make
      check_go
      check_java
      check_sandbox_packages
      check_ports
      check_disk
      check_memory
      check_agent
      ;;
    existing)
      check_make
      check_go
      check_kubeconfig
      ;;
    compose | k3d)
      check_system
      check_docker
      check_make
      check_go
      check_java
      check_ports
      check_disk
      check_memory
      ;;
  esac
}

report() {
  if ((problems == 0)); then
    echo "This machine can run the lab."
    return
  fi
  echo
  if ((${#packages[@]} > 1)) && have apt-get; then
    echo "All packages at once:"
    echo "  $(as_root 'apt-get update') && $(as_root "apt-get install -y ${packages[*]}")"
  fi
  if ((problems == 1)); then echo "One thing is missing."; else echo "$problems things are missing."; fi
  return 1
}

# start hands over to make, as root where the sandbox needs it. sudo forgets the environment; what the lab is told by is handed on, and keys in a
# way that no list of processes shows.
start() {
  local variable handed=("PATH=$PATH")
  if ((EUID == 0)) || [[ $sandbox != embedded ]]; then
    exec make up
  fi
  for variable in SANDBOX SANDBOX_CPUS SANDBOX_MEMORY BROKERS WORKLOAD TUNER_MODE LAB_FILE AGENT AGENT_MODEL AGENT_ADDRESS AGENT_SCENARIO AGENT_EVERY \
    ANTHROPIC_API_KEY_FILE OPENAI_API_KEY_FILE KUBECONFIG IMAGE_PREFIX IMAGE_TAG \
    API_PORT KAFKA_PORT PROMETHEUS_PORT EXPORTER_PORT LOADGEN_PORT TUNER_PORT GRAFANA_PORT \
    DEBIAN_MIRROR GOPROXY GOFLAGS GOTOOLCHAIN http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
    if [[ -n ${!variable:-} ]]; then handed+=("$variable=${!variable}"); fi
  done
  echo "Starting as root, through sudo."
  exec sudo --preserve-env=ANTHROPIC_API_KEY,OPENAI_API_KEY env "${handed[@]}" make up
}

main() {
  cd "$(dirname "${BASH_SOURCE[0]}")"
  case ${1:-} in
    "" | --check) ;;
    --choose | --chosen)
      choose
      [[ $1 == --chosen ]] || echo "SANDBOX=$sandbox ($because)" >&2
      echo "$sandbox"
      return
      ;;
    -h | --help)
      echo "usage: ./run.sh [--check|--choose|--chosen]"
      echo "Checks that this machine can run the lab and starts it (make up); with --check it only looks, with --choose it says in which sandbox and why, with --chosen only in which."
      return
      ;;
    *)
      echo "run.sh: unknown argument \"$1\" (usage: ./run.sh [--check|--choose|--chosen])" >&2
      return 2
      ;;
  esac
  choose
  export SANDBOX=$sandbox
  echo "What the lab needs (SANDBOX=$sandbox, $because):"
  check_all
  report
  [[ ${1:-} == --check ]] || start
}

main "$@"
