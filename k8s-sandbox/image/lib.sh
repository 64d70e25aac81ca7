# shellcheck shell=bash
# What the steps of build.sh share: messages, one run at a time, scratch folders that do not outlive us.

say() { echo "$*"; }
die() { echo "build.sh: $*" >&2; exit 1; }

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

# lock waits for another build.sh in the same checkout. The kernel lets go of it however we and our
# children end.
lock() {
  mkdir -p "$lab" || die "cannot make $lab"
  exec {lock_fd}>"$lab/.build.lock" || die "cannot write in $lab"
  if ! flock -n "$lock_fd"; then
    say "another build.sh is at work in this checkout: waiting for it"
    flock "$lock_fd"
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
