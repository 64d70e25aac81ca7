# shellcheck shell=bash disable=SC2154 # here and lab come from build.sh
# Images without Docker and without a registry: the base system from Debian's packages, the rest by buildah from the Dockerfile.
#
# Nothing is mounted where anybody else can see it: debootstrap and buildah run in a mount and process namespace of their own, which ends
# with us, however we end. buildah's storage is only a cache; it is thrown away if a run did not finish. It serves every checkout of the user: what is
# slow is to install packages, and every checkout installs the same.

all_images=(pause coredns prometheus exporter loadgen tuner kafka)
more_images=(agent) # only by name
suite=bookworm
base_name=docker.io/library/debian:$suite-slim # the name the Dockerfile knows it by
space_mb=2000                                  # base system, Java, Kafka, their layers and archives

images() {
  local wanted=("$@") name todo=() start
  ((${#wanted[@]})) || wanted=("${all_images[@]}")
  out=$lab/images
  for name in "${wanted[@]}"; do
    [[ " ${all_images[*]} ${more_images[*]} " == *" $name "* ]] || die "image: must be one of ${all_images[*]} ${more_images[*]} (got $name)"
  done
  have_inputs "${wanted[@]}"
  start=$(now_ms)
  for name in "${wanted[@]}"; do
    image_whole "$name" || todo+=("$name")
  done
  if ((${#todo[@]} == 0)); then
    say "${#wanted[@]} images are up to date ($out)"
    return
  fi
  can_build
  prepare
  build_all "${todo[@]}"
  finish
  say "$((${#wanted[@]} - ${#todo[@]})) images were up to date, ${#todo[@]} built in $(seconds_since "$start") ($out)"
}

# have_inputs says everything that is missing at once.
have_inputs() {
  local name missing=()
  for name in "$@"; do
    if [[ $name != kafka && ! -f $lab/bin/$name ]]; then
      missing+=("$lab/bin/$name")
    fi
  done
  ((${#missing[@]} == 0)) || die "missing: ${missing[*]}. Run: make build"
  if [[ " $* " == *" kafka "* ]]; then
    kafka_dist
  fi
  if [[ " $* " == *" agent "* ]]; then
    wheels
  fi
}

# can_build checks what only a build needs, so that an unchanged tree asks for nothing.
can_build() {
  ((EUID == 0)) || die "images are built from Debian packages in a chroot, which needs root (running as uid $EUID)"
  need debootstrap debootstrap buildah buildah unshare util-linux setpriv util-linux
  local folder free
  for folder in "$lab" "$cache"; do
    free=$(($(df -Pk "$folder" | awk 'NR == 2 { print $4 }') / 1024))
    ((free >= space_mb)) || die "images need $space_mb MB on the file system of $folder (free: $free MB)"
  done
}

# image_stamp NAME: the state of everything that goes into the image.
image_stamp() {
  case $1 in
    kafka) echo "$(base_stamp) $(cd "$here" && hash_of Dockerfile images.sh) $(dist_stamp)" ;;
    agent) echo "$(base_stamp) $(cd "$here" && hash_of Dockerfile images.sh) $(wheels_stamp) $(sha256sum <"$lab/bin/kube") $(sha256sum <"$lab/bin/agent")" ;;
    *) echo "$(cd "$here" && hash_of Dockerfile images.sh) $(sha256sum <"$lab/bin/$1")" ;;
  esac | sha256sum | cut -c1-64
}

# image_whole NAME: the stamp is the last thing written and the first removed, so that it speaks for the archive and the name too.
image_whole() {
  [[ -f $out/$1.tar && -f $out/$1.ref && -f $out/$1.stamp && $(<"$out/$1.stamp") == "$(image_stamp "$1")" ]]
}

# prepare clears what an unfinished run left. The storage is marked as in use; who finds the mark knows that its user did not finish.
prepare() {
  store=$cache/buildah
  run_root=/run/kafkalab-buildah-$(sha256sum <<<"$cache" | cut -c1-8)
  if [[ -e $store/.in-use ]]; then
    say "an earlier build was interrupted: clearing its storage"
    rm -rf -- "$store"
  fi
  rm -rf -- "$run_root" "$cache"/base.new.* "$out"/*.part
  mkdir -p "$store/tmp" "$run_root" "$out"
  touch "$store/.in-use"
  scratch+=("$run_root" "$store/tmp")
}

# finish keeps the layers of the newest images only.
finish() {
  contained "$out/prune.log" buildah_ rmi --prune || fail "$out/prune.log" "buildah could not remove old layers"
  rm -f "$store/.in-use"
}

# contained LOG COMMAND...: the command, and everything it starts, in namespaces that end with us; what it says goes to the log.
contained() {
  local log=$1
  shift
  if [[ $1 == buildah_ ]]; then
    shift
    set -- buildah --root "$store/storage" --runroot "$run_root" --storage-driver overlay "$@"
  fi
  # buildah keeps a cache of blobs in /var/lib/containers whatever --root says: it sees an empty folder there that is gone with it.
  mkdir -p /var/lib/containers
  # shellcheck disable=SC2016 # expanded by the inner shell
  run "$log" env "TMPDIR=$store/tmp" SOURCE_DATE_EPOCH=86400 unshare --mount --pid --fork --kill-child --mount-proc \
    sh -c 'mount -t tmpfs none /var/lib/containers && exec "$@"' sh "$@"
}

# fail LOG WHAT: the end of the log, then one line that says what went wrong.
fail() {
  echo failed
  tail -n 15 "$1" >&2
  if grep -q 'No space left on device' "$1"; then
    die "$2: the disk is full (file system of $lab or of $cache)"
  fi
  die "$2 (whole log: $1)"
}

build_all() {
  local name step=0 steps=$# started
  if [[ " $* " =~ " "(kafka|agent)" " ]] && ! base_whole; then
    steps=$((steps + 1)) step=1
    started=$(now_ms)
    printf '[1/%d] base system (Debian %s) ... ' "$steps" "$suite"
    make_base
    say "$(seconds_since "$started")"
  fi
  for name in "$@"; do
    step=$((step + 1))
    started=$(now_ms)
    printf '[%d/%d] image %s ... ' "$step" "$steps" "$name"
    make_image "$name"
    say "$(seconds_since "$started")  $(<"$out/$name.ref"), $(du -h "$out/$name.tar" | cut -f1)"
  done
}

# The base depends on this file's recipe only; which package versions Debian had that day is for whoever removes them (make clean) to renew.
base_stamp() { declare -f make_base trim suite_sources | cat - <(echo "$suite") | sha256sum | cut -c1-64; }
base_whole() { [[ -f $cache/base.tar && -f $cache/base.stamp && $(<"$cache/base.stamp") == "$(base_stamp)" ]]; }

make_base() {
  local new log=$out/base.log
  : >"$log"
  new=$(mktemp -d "$cache/base.new.XXXXXX")
  scratch+=("$new" "$cache/base.new.tar")
  chmod 755 "$new"
  # shellcheck disable=SC2086 # no mirror: debootstrap's own
  contained "$log" debootstrap --variant=minbase "$suite" "$new" ${DEBIAN_MIRROR:-} || fail "$log" "debootstrap could not make the base system"
  suite_sources "$new"
  trim "$new"
  # Names, owners and times are fixed, so that the same packages give the same archive.
  tar --create --file "$cache/base.new.tar" --directory "$new" --sort=name --numeric-owner --mtime=@86400 --clamp-mtime --one-file-system . \
    2>>"$log" || fail "$log" "cannot write $cache/base.new.tar"
  rm -rf -- "$new"
  rm -f "$cache/base.stamp"
  mv "$cache/base.new.tar" "$cache/base.tar"
  base_stamp >"$cache/base.stamp"
}

# suite_sources ROOT: updates and security fixes from the mirror that debootstrap took.
suite_sources() {
  local mirror
  mirror=$(sed -nE "s#^deb ([^ ]+) $suite main.*#\1#p" "$1/etc/apt/sources.list")
  printf 'deb %s %s main\n' "$mirror" "$suite" "$mirror" "$suite-updates" "$mirror-security" "$suite-security" >"$1/etc/apt/sources.list"
}

# trim ROOT: without what a container never reads, now and for packages installed later, and without what names this machine or this day.
trim() {
  cat >"$1/etc/dpkg/dpkg.cfg.d/slim" <<'EOF'
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/info/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/man/*
EOF
  find "$1/usr/share/doc" -type f ! -name copyright -delete
  find "$1/usr/share/doc" -depth -type d -empty -delete
  # shellcheck disable=SC2115 # $1 is a folder that mktemp has just made
  rm -rf -- "$1"/usr/share/{info,locale,man}/* "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/* "$1"/var/cache/ldconfig/* \
    "$1"/var/cache/debconf/*-old "$1"/var/lib/dpkg/*-old "$1"/var/log/* "$1"/tmp/* "$1"/debootstrap "$1"/dev/*
  rm -f -- "$1"/etc/{machine-id,hostname,resolv.conf} "$1"/etc/{passwd,group,shadow,gshadow}-
}

# import_base puts the base system into buildah's storage under the real image's name, unless it is there.
import_base() {
  local context log=$1 stamp
  stamp=$(base_stamp)
  [[ -f $store/.base && $(<"$store/.base") == "$stamp" ]] && return
  context=$store/tmp/base
  rm -rf -- "$context"
  mkdir "$context"
  ln "$cache/base.tar" "$context/base.tar"
  printf 'FROM scratch\nADD base.tar /\nCMD ["bash"]\n' >"$context/Dockerfile"
  contained "$log" buildah_ bud --isolation chroot --format oci --timestamp 0 --layers --tag "$base_name" "$context" || fail "$log" "buildah could not import the base system"
  rm -rf -- "$context"
  echo "$stamp" >"$store/.base"
}

make_image() {
  local name=$1 log=$out/$1.log context=$lab/bin id ref stamp
  : >"$log"
  stamp=$(image_stamp "$name")
  case $name in
    kafka)
      context=$lab/kafka
      import_base "$log"
      ;;
    agent)
      context=$lab/agent
      import_base "$log"
      ln -f "$lab/bin/kube" "$lab/bin/agent" "$context/"
      ;;
  esac
  contained "$log" buildah_ bud --isolation chroot --format oci --timestamp 0 --layers --pull=never --build-arg "BASE=$base_name" \
    --file "$here/Dockerfile" --target "$name" --iidfile "$store/tmp/id" --tag "kafkalab-build/$name" "$context" || fail "$log" "buildah could not build image $name"
  id=$(<"$store/tmp/id")
  ref=$(image_ref "$name" "$id")
  contained "$log" buildah_ push "${id#sha256:}" "docker-archive:$out/$name.tar.part:$ref" || fail "$log" "buildah could not write $out/$name.tar"
  place_image "$name" "$ref" "$stamp"
}

# image_ref NAME ID: the name carries the content: an unchanged image keeps it, and the pods that use it are left alone.
image_ref() {
  local id=${2#sha256:}
  if [[ $1 == pause ]]; then echo docker.io/kafkalab/pause:1; else echo "docker.io/kafkalab/$1:${id:0:12}"; fi
}

# place_image NAME REF STAMP: NAME.tar.part is whole.
place_image() {
  rm -f "$out/$1.stamp" "$out/$1.ref"
  mv "$out/$1.tar.part" "$out/$1.tar"
  echo "$2" >"$out/$1.ref.part"
  mv "$out/$1.ref.part" "$out/$1.ref"
  echo "$3" >"$out/$1.stamp.part"
  mv "$out/$1.stamp.part" "$out/$1.stamp"
}
