# shellcheck shell=bash disable=SC2154 # here and lab come from build.sh
# What the steps of build.sh share: messages, one run at a time, scratch folders that do not outlive us.

say() { echo "$*"; }
die() { echo "build.sh: $*" >&2; exit 1; }

scratch=() # files and folders that go when we end
child=     # what run waits for

# cleanup ends what still runs, its children first: when a namespace's first process has been reaped, all of the others have been too.
cleanup() {
  local rc=$?
  trap - EXIT INT TERM
  if [[ -n $child ]]; then
    local kids=()
    read -ra kids <"/proc/$child/task/$child/children" || true
    kill -KILL "${kids[@]:-$child}" || true
    wait "$child" || true
    kill -KILL "$child" || true
  fi 2>/dev/null
  ((${#scratch[@]} == 0)) || rm -rf -- "${scratch[@]}"
  rmdir /var/lib/containers 2>/dev/null || true # if images.sh made it, it is empty
  exit "$rc"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# run LOG COMMAND...: in the background, so that a signal to us is heard at once and not when the command is through. If we are killed, the
# command is too.
run() {
  local log=$1 rc=0
  shift
  setpriv --pdeathsig KILL -- "$@" >>"$log" 2>&1 </dev/null &
  child=$!
  wait "$child" || rc=$?
  child=
  return "$rc"
}

# need COMMAND PACKAGE...: names everything that is missing at once, with the command that installs it.
need() {
  local missing=() packages=()
  while (($#)); do
    if ! command -v "$1" >/dev/null; then
      missing+=("$1")
      packages+=("$2")
    fi
    shift 2
  done
  ((${#missing[@]} == 0)) || die "missing: ${missing[*]}. On Debian: apt-get install ${packages[*]}"
}

# lock FOLDER waits for another build.sh that is at work in it. The kernel lets go of it however we and our children end.
lock() {
  local fd
  mkdir -p "$1" || die "cannot make $1"
  exec {fd}>"$1/.build.lock" || die "cannot write in $1"
  if ! flock -n "$fd"; then
    say "another build.sh is at work in $1: waiting for it"
    flock "$fd"
  fi
}

# hash_of FILE...: one hash of names and contents, the stamp that says whether a step's inputs changed.
hash_of() { sha256sum -- "$@" | sha256sum | cut -c1-64; }

now_ms() { date +%s%3N; }

# seconds_since MS: how long, for progress lines.
seconds_since() { echo "$((($(now_ms) - $1 + 500) / 1000)) s"; }

# place NEW OLD: puts a finished folder where an older one may be. Between the two renames the place is empty, never half full.
place() {
  local old
  if [[ -e $2 ]]; then
    old=$(mktemp -d "$2.old.XXXXXX")
    mv -T "$2" "$old/it"
    mv -T "$1" "$2"
    rm -rf -- "$old"
  else
    mv -T "$1" "$2"
  fi
}
