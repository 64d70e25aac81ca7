# shellcheck shell=bash disable=SC2154 # here and lab come from build.sh
# Vibectl and the packages that it needs from PyPI, as wheels for the Python of the image, under .lab/agent/wheels. They are fetched out here
# because here is what this machine's pip knows of mirrors, proxies and certificates.

requirements=$root/k8s-sandbox/agent/requirements.txt
python=3.11 # Debian bookworm's

wheels_stamp() { (cd "$here" && hash_of wheels.sh "$requirements"); }

# wheels puts them there, and fetches those that no checkout has had yet.
wheels() {
  local stamp kept new
  stamp=$(wheels_stamp)
  [[ -f $lab/agent/wheels.stamp && $(<"$lab/agent/wheels.stamp") == "$stamp" ]] && return
  kept=$cache/wheels-${stamp:0:16}
  [[ -d $kept ]] || fetch_wheels "$kept"
  new=$(mktemp -d "$lab/agent.new.XXXXXX")
  scratch+=("$new")
  cp -r "$kept" "$new/wheels"
  echo "$stamp" >"$new/wheels.stamp"
  chmod 755 "$new"
  place "$new" "$lab/agent"
}

# fetch_wheels FOLDER
fetch_wheels() {
  local new log=$lab/agent.log
  python3 -c 'import ensurepip, venv' 2>/dev/null || die "missing: Python's venv. On Debian: apt-get install python3-venv"
  rm -rf -- "$cache"/wheels.new.*
  new=$(mktemp -d "$cache/wheels.new.XXXXXX")
  scratch+=("$new" "$log")
  : >"$log"
  say "fetching vibectl's packages"
  run "$log" python3 -m venv "$new/pip" || die "cannot make an environment for pip: $(tail -n 3 "$log")"
  run "$log" "$new/pip/bin/pip" download --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: \
    --implementation cp --python-version "$python" "--platform=manylinux_2_28_$(uname -m)" "--platform=manylinux_2_17_$(uname -m)" --platform=any \
    --dest "$new/wheels" --requirement "$requirements" || die "pip could not fetch the packages of agent/requirements.txt: $(grep -E '^ERROR' "$log" | tail -n 3)"
  mv -T "$new/wheels" "$1"
}
