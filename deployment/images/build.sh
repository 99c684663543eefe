#!/usr/bin/env bash
# Builds the images without a Docker engine: mmdebstrap makes the base, buildah builds each target of the Dockerfile.
#   deployment/images/build.sh [TARGET…]      by default all roles
# Needs root, Debian's mmdebstrap and buildah, and `make install`. A base made before is used again, and so are layers whose
# sources are as before. Certificates, the package mirror and uv's cache of this machine apply in the build, not in the images.
# BYTECODE=--no-compile-bytecode leaves out compiled Python: done sooner, starts later. DEEP="" leaves out TensorFlow. TAG=… names
# the images' version.
set -euo pipefail
cd "$(dirname "$0")/../.."

targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    targets=(scoring webserver collector dashboard labeller code-location platform)
fi
release=bookworm
export BUILDAH_ISOLATION=chroot BUILDAH_FORMAT=docker TMPDIR="$PWD/build/images"
mkdir -p "$TMPDIR"

for program in mmdebstrap buildah .venv/bin/uv; do
    command -v "$program" >/dev/null || {
        echo "$program is missing: apt-get install mmdebstrap buildah, and make install" >&2
        exit 1
    }
done

# image NAME COMMAND…: an image of what the command, given the folder of its root, puts there; unless there is one.
image() {
    if ! buildah inspect "localhost/$1" >/dev/null 2>&1; then
        made=$(buildah from scratch)
        "${@:2}" "$(buildah mount "$made")"
        buildah commit --quiet --rm "$made" "localhost/$1" >/dev/null
    fi
}
# Debian with Python, without manuals.
debian() {
    mmdebstrap --quiet --variant=minbase --include=python3,ca-certificates --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        --customize-hook='rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/*' "$release" "$1"
}
uv="tapewatch-uv:$(sed -n 's/^ARG UV=.*://p' deployment/images/Dockerfile)"
image tapewatch-base debian
image "$uv" cp .venv/bin/uv

# What the Dockerfile caches is below the folder for temporary files.
mkdir -p "$TMPDIR/buildah-cache/root/.cache"
ln --symbolic --force --no-dereference "$(.venv/bin/uv cache dir)" "$TMPDIR/buildah-cache/root/.cache/uv"
options=(--file deployment/images/Dockerfile --ignorefile deployment/images/Dockerfile.dockerignore --network host --layers
    --build-arg BASE=localhost/tapewatch-base --build-arg "UV=localhost/$uv"
    --build-arg "DEEP=${DEEP---extra deep}" --build-arg "BYTECODE=${BYTECODE---compile-bytecode}" --quiet)
for file in /etc/ssl/certs/ca-certificates.crt /etc/pip.conf /etc/uv; do
    if [ -e "$file" ]; then
        options+=(--volume "$file:$file:ro")
    fi
done
for name in "${targets[@]}"; do
    SECONDS=0
    image=localhost/tapewatch-$name:${TAG-latest}
    buildah build "${options[@]}" --target "$name" --tag "$image" . >/dev/null
    echo "$image: $(buildah images --format '{{.Size}}' "$image"), $SECONDS s"
done
