#!/bin/bash
# Makes what runs in the pods, without an image registry, and without Docker unless it is asked for. Everything goes to .lab/ of the checkout.
#
#   build.sh kafka-dist        Kafka's jars from Maven Central, checked, with its configuration     -> .lab/kafka
#   build.sh images [NAME...]  every image but agent (or those), as an archive and its later name   -> .lab/images/NAME.{tar,ref}
#   build.sh docker-images NAME...  those images, made by Docker: no root and no Debian needed  -> .lab/images/NAME.{tar,ref}
#   build.sh checksums         rewrites checksums.sha256 after a change of pom.xml
#
# What was fetched from Debian and PyPI and what was made of it is kept for every checkout of the user, in ~/.cache/kafkalab (XDG_CACHE_HOME).
# LAB_DIR puts results somewhere else than .lab, DEBIAN_MIRROR takes the base system from another mirror than debootstrap's own.
# Each step is left out when its inputs have not changed, and can be interrupted at any point: results are made beside their place and
# renamed into it when they are whole.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
lab=${LAB_DIR:-$root/.lab}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/kafkalab

# shellcheck source=lib.sh
. "$here/lib.sh"
# shellcheck source=dist.sh
. "$here/dist.sh"
# shellcheck source=wheels.sh
. "$here/wheels.sh"
# shellcheck source=images.sh
. "$here/images.sh"
# shellcheck source=docker.sh
. "$here/docker.sh"

case ${1:-} in
  kafka-dist) lock "$lab"; kafka_dist ;;
  images)
    shift
    lock "$lab"
    lock "$cache"
    images "$@"
    ;;
  docker-images)
    shift
    lock "$lab"
    lock "$cache"
    docker_images "$@"
    ;;
  checksums) lock "$lab"; checksums ;;
  *)
    echo "usage: build.sh kafka-dist|images [NAME...]|docker-images NAME...|checksums" >&2
    exit 2
    ;;
esac
