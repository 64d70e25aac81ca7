# shellcheck shell=bash disable=SC2154 # here and lab come from build.sh
# Kafka's distribution from Maven Central: libs/, agent/, config/ and bin/ under .lab/kafka.

dist_files=(server.properties log4j2.yaml tools-log4j2.yaml jmx.yaml)
dist_bins=(kafka-run kafka-tool)

# dist_stamp names the inputs' state; a folder with another stamp is made anew.
dist_stamp() {
  (cd "$here" && hash_of pom.xml checksums.sha256 dist.sh "${dist_files[@]}" "${dist_bins[@]}")
}

# fetch_jars FOLDER: Maven itself refuses an artefact whose repository checksum differs (-C).
fetch_jars() {
  local log="$1.log"
  need mvn maven java openjdk-17-jdk-headless
  if ! run "$log" mvn -B -C -ntp -f "$here/pom.xml" dependency:copy-dependencies "-DoutputDirectory=$1"; then
    if grep -q 'No space left on device' "$log"; then
      die "the disk is full: maven could not copy Kafka's jars to $1"
    fi
    grep -E '^\[ERROR\]' "$log" | head -5 >&2 || tail -20 "$log" >&2
    die "maven could not fetch Kafka's jars (see above)"
  fi
  rm -f "$log"
}

# check_jars FOLDER: every committed jar is there and right, and nothing else is.
check_jars() {
  local bad
  bad=$(cd "$1" && sha256sum --check --strict --quiet "$here/checksums.sha256" 2>/dev/null | sed 's/: FAILED.*//') || true
  [[ -z $bad ]] || { echo "not as in checksums.sha256: ${bad//$'\n'/, }"; return 1; }
  bad=$(comm -13 <(cut -c67- "$here/checksums.sha256" | sort) <(cd "$1" && printf '%s\n' * | sort))
  [[ -z $bad ]] || { echo "not named in checksums.sha256: ${bad//$'\n'/, }"; return 1; }
}

# dist_whole says whether .lab/kafka is what the inputs ask for. The jars are read each time: 60 MB take a fifth of a second, and a stamp
# alone would believe a damaged disk.
dist_whole() {
  [[ -f $lab/kafka/.stamp && $(<"$lab/kafka/.stamp") == "$(dist_stamp)" ]] || return 1
  local all rc=0
  all=$(mktemp -d "$lab/.check.XXXXXX")
  scratch+=("$all")
  ln -s "$lab"/kafka/libs/*.jar "$lab"/kafka/agent/*-[0-9]*.jar "$all/" || rc=1
  check_jars "$all" >/dev/null || rc=1
  rm -rf -- "$all"
  return "$rc"
}

kafka_dist() {
  local start new why
  start=$(now_ms)
  if dist_whole; then
    say "Kafka's distribution is up to date ($lab/kafka)"
    return
  fi
  say "Kafka's distribution: fetching it from Maven Central"
  rm -rf -- "$lab"/kafka.new.* "$lab"/kafka.old.* "$lab"/.check.*
  new=$(mktemp -d "$lab/kafka.new.XXXXXX")
  scratch+=("$new" "$new.log")
  chmod 755 "$new"
  mkdir "$new/libs" "$new/agent" "$new/config" "$new/bin"
  fetch_jars "$new/libs"
  why=$(check_jars "$new/libs") || die "$why. If pom.xml was changed on purpose: build.sh checksums"
  # The agent is a program of its own; on Kafka's class path its bundled libraries would only be in the way.
  mv "$new"/libs/jmx_prometheus_javaagent-*.jar "$new/agent/"
  (cd "$new/agent" && ln -s jmx_prometheus_javaagent-*.jar jmx_prometheus_javaagent.jar)
  (cd "$here" && cp "${dist_files[@]}" "$new/config/" && cp "${dist_bins[@]}" "$new/bin/")
  chmod -R u=rwX,go=rX "$new"
  dist_stamp >"$new/.stamp"
  place "$new" "$lab/kafka"
  say "Kafka's distribution: $(find "$lab/kafka/libs" -name '*.jar' | wc -l) jars checked, $(du -sh "$lab/kafka" | cut -f1), $(seconds_since "$start")"
}

checksums() {
  local new
  new=$(mktemp -d "$lab/kafka.new.XXXXXX")
  scratch+=("$new" "$new.log")
  fetch_jars "$new"
  (cd "$new" && sha256sum -- *.jar) >"$here/checksums.sha256.new"
  mv "$here/checksums.sha256.new" "$here/checksums.sha256"
  say "checksums.sha256: $(wc -l <"$here/checksums.sha256") jars. Look at the difference before you commit it."
}
