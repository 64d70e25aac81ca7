# shellcheck shell=bash disable=SC2154 # here, lab and out come from build.sh and images.sh
# The images of pods by Docker, for machines that have it: the same Dockerfile and archives, on the registry's Debian. The cache is Docker's.

docker_images() {
  local name log ref stamp id
  (($#)) || die "docker-images: name the images"
  out=$lab/images
  mkdir -p "$out"
  have_inputs "$@"
  for name in "$@"; do
    if image_whole "$name"; then
      say "image $name is up to date"
      continue
    fi
    say "image $name: building it with Docker"
    log=$out/$name.log
    : >"$log"
    stamp=$(image_stamp "$name")
    # Compose brings BuildKit's client along, which not every docker does. Without attestations the archive holds the image and nothing else.
    run "$log" env "LAB_DIR=$lab" "IMAGE_DIR=$here" BUILDX_NO_DEFAULT_ATTESTATIONS=1 docker compose --file "$here/pods.yml" --progress plain \
      build "$name" || fail "$log" "docker could not build image $name"
    id=$(docker image inspect --format '{{.Id}}' "kafkalab-pods/$name")
    ref=$(image_ref "$name" "$id")
    docker tag "kafkalab-pods/$name" "$ref"
    run "$log" docker save --output "$out/$name.tar.part" "$ref" || fail "$log" "docker could not write $out/$name.tar"
    docker image rm --no-prune "$ref" >>"$log" # it is in the archive now; the image keeps its other name
    place_image "$name" "$ref" "$stamp"
  done
}
