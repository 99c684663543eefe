#!/usr/bin/env bash
# Builds the images without a Docker engine: mmdebstrap makes the base, buildah builds each target of the Dockerfile.
#   deployment/images/build.sh [TARGET…]      by default scoring, then all others
# Needs root and Debian's mmdebstrap and buildah. A base made before is used again. Certificates and the package mirror of
# this machine apply in the build, not in the images.
set -euo pipefail
cd "$(dirname "$0")/../.."

folder=build/images
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    targets=(scoring webserver collector code-location dashboard labeller platform)
fi
release=bookworm
export BUILDAH_ISOLATION=chroot STORAGE_DRIVER=vfs BUILDAH_FORMAT=docker
export TMPDIR="$PWD/$folder/tmp"

for program in mmdebstrap buildah; do
    command -v "$program" >/dev/null || {
        echo "$program is missing: apt-get install mmdebstrap buildah" >&2
        exit 1
    }
done
mkdir -p "$TMPDIR"

# base NAME PACKAGES: an image of Debian with those packages and without manuals.
base() {
    if ! buildah inspect "localhost/tapewatch-$1" >/dev/null 2>&1; then
        mmdebstrap --quiet --variant=minbase --include="$2" --dpkgopt='path-exclude=/usr/share/doc/*' \
            --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
            --customize-hook='rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/*' "$release" "$folder/$1.tar"
        local made
        made=$(buildah from scratch)
        buildah add --quiet "$made" "$folder/$1.tar" / >/dev/null
        buildah commit --quiet --rm "$made" "localhost/tapewatch-$1" >/dev/null
        rm "$folder/$1.tar"
    fi
}

base base python3,ca-certificates
base builder python3,python3-venv,ca-certificates

options=(--file deployment/images/Dockerfile --ignorefile deployment/images/Dockerfile.dockerignore --network host
    --build-arg BASE=localhost/tapewatch-base --build-arg BUILDER=localhost/tapewatch-builder
    --build-arg "DEEP=${DEEP---extra deep}" --quiet)
for file in /etc/ssl/certs/ca-certificates.crt /etc/pip.conf /etc/uv; do
    if [ -e "$file" ]; then
        options+=(--volume "$file:$file:ro")
    fi
done
# target NAME [OPTION…]: an image, its size and the time that it took.
target() {
    SECONDS=0
    buildah build "${options[@]}" "${@:2}" --target "$1" --tag "localhost/tapewatch-$1" . >/dev/null
    echo "tapewatch-$1: $(buildah images --format '{{.Size}}' "localhost/tapewatch-$1"), $SECONDS s"
}

for name in "${targets[@]}"; do
    if [ "$name" = scoring ]; then
        target scoring
        continue
    fi
    # buildah keeps no stages, so what the other images share is built once, as an image of its own.
    if [ -z "${library-}" ]; then
        target library
        library=(--build-context library=container-image://localhost/tapewatch-library)
    fi
    target "$name" "${library[@]}"
done
