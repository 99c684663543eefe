#!/usr/bin/env bash
# Builds the images without a Docker engine: mmdebstrap makes the base, buildah builds each target of the Dockerfile.
#   deployment/images/build.sh [TARGET…]      by default scoring, then all others
# Needs root, Debian's mmdebstrap and buildah, and `make install`. A base made before is used again. Certificates, the package
# mirror and uv's cache of this machine apply in the build, not in the images.
set -euo pipefail
cd "$(dirname "$0")/../.."

folder=$PWD/build/images
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    targets=(scoring webserver collector code-location dashboard labeller platform)
fi
release=bookworm
export BUILDAH_ISOLATION=chroot BUILDAH_FORMAT=docker
export TMPDIR="$folder/tmp"

for program in mmdebstrap buildah .venv/bin/uv; do
    command -v "$program" >/dev/null || {
        echo "$program is missing: apt-get install mmdebstrap buildah, and make install" >&2
        exit 1
    }
done
# What a Dockerfile caches is below the folder for temporary files.
mkdir -p "$TMPDIR/buildah-cache/root/.cache" "$folder/uv"
ln --symbolic --force --no-dereference "$(.venv/bin/uv cache dir)" "$TMPDIR/buildah-cache/root/.cache/uv"
cp .venv/bin/uv "$folder/uv/"

if ! buildah inspect localhost/tapewatch-base >/dev/null 2>&1; then
    # Debian with Python, without manuals.
    mmdebstrap --quiet --variant=minbase --include=python3,ca-certificates --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        --customize-hook='rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/*' "$release" "$folder/base.tar"
    made=$(buildah from scratch)
    buildah add --quiet "$made" "$folder/base.tar" / >/dev/null
    buildah commit --quiet --rm "$made" localhost/tapewatch-base >/dev/null
    rm "$folder/base.tar"
fi

uv_image=$(sed -n 's/^COPY --from=\(\S*\) \/uv .*/\1/p' deployment/images/Dockerfile)
options=(--file deployment/images/Dockerfile --ignorefile deployment/images/Dockerfile.dockerignore --network host
    --build-arg BASE=localhost/tapewatch-base --build-context "$uv_image=$folder/uv" --build-arg "DEEP=${DEEP---extra deep}" --quiet)
for file in /etc/ssl/certs/ca-certificates.crt /etc/pip.conf /etc/uv; do
    if [ -e "$file" ]; then
        options+=(--volume "$file:$file:ro")
    fi
done
# target NAME: an image, its size and the time that it took.
target() {
    SECONDS=0
    buildah build "${options[@]}" --target "$1" --tag "localhost/tapewatch-$1" . >/dev/null
    echo "tapewatch-$1: $(buildah images --format '{{.Size}}' "localhost/tapewatch-$1"), $SECONDS s"
}
# shared NAME…: stages that several images share. buildah keeps none, so each is built once, as an image of its own.
shared() {
    for stage in "$@"; do
        if [[ " ${options[*]} " != *" $stage=container-image:"* ]]; then
            target "$stage"
            options+=(--build-context "$stage=container-image://localhost/tapewatch-$stage")
        fi
    done
}

for name in "${targets[@]}"; do
    case $name in
        scoring) ;;
        code-location | platform) shared library deep ;;
        *) shared library ;;
    esac
    target "$name"
done
