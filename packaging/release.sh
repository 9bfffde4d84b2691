#!/usr/bin/env bash
# Builds what is released: the program and the Debian package, in target/dist/. The same commit, Rust version and C
# compiler give the same bytes, wherever the sources lie.
#
#   packaging/release.sh           builds
#   packaging/release.sh --check   builds twice, from copies of the commit in two folders, and compares
#
# What would differ from build to build is fixed here: times are that of the commit, the crates those of Cargo.lock,
# code generation is by the profile of Cargo.toml, and sources, crates and output lie in the same places each time, in a
# mount namespace of the build's own. Cutting paths by --remap-path-prefix alone is not enough: names of symbols follow
# from the flags, too.
set -euo pipefail
umask 022
export LC_ALL=C TZ=UTC
top=$(cd "$(dirname "$0")/.." && pwd)
SOURCE_DATE_EPOCH=$(git -C "$top" log -1 --format=%ct)
export SOURCE_DATE_EPOCH

# Builds the sources in $1, with whatever cargo needs below $2, at places that are the same for everyone.
build() {
    local sources=$1 target=$2
    local home=${CARGO_HOME:-$HOME/.cargo} toolchain own=()
    toolchain=$(cd "$sources" && rustc --print sysroot)
    mkdir -p "$target"
    # Who is not root gets the right to mount in a user namespace.
    ((EUID == 0)) || own=(--user --map-root-user)
    # Nothing of the caller's may leak in: RUSTFLAGS below replaces it, profiles are not to be overridden.
    (
        unset "${!CARGO_PROFILE_@}" CARGO_BUILD_RUSTFLAGS RUSTC_WRAPPER CARGO_BUILD_RUSTC_WRAPPER
        export sources target home toolchain
        unshare "${own[@]}" --mount --propagation private bash -euc '
            mount -t tmpfs build /mnt
            mkdir /mnt/{sources,target,cargo,toolchain}
            mount --bind "$sources" /mnt/sources
            mount --bind "$target" /mnt/target
            mount --bind "$home" /mnt/cargo
            mount --bind "$toolchain" /mnt/toolchain
            cd /mnt/sources
            export PATH=/mnt/toolchain/bin:$PATH CARGO_HOME=/mnt/cargo CARGO_TARGET_DIR=/mnt/target CARGO_INCREMENTAL=0
            export RUSTFLAGS="--remap-path-prefix=/mnt/="
            export CFLAGS="-ffile-prefix-map=/mnt/="
            nice cargo build --release --locked --bin transship
        '
    )
}

if [[ ${1-} == --check ]]; then
    work=$(mktemp -d "${TMPDIR:-/var/tmp}/transship-release.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    # Folders of different lengths: a path that got in would move what follows.
    for copy in one another/folder; do
        mkdir -p "$work/$copy/sources"
        git -C "$top" archive HEAD | tar -x -C "$work/$copy/sources"
        build "$work/$copy/sources" "$work/$copy/target"
        "$work/$copy/sources/packaging/deb/build.sh" "$work/$copy/target/release/transship" "$work/$copy/dist"
    done
    (cd "$work" && sha256sum {one,another/folder}/target/release/transship {one,another/folder}/dist/*.deb)
    cmp "$work"/{one,another/folder}/target/release/transship
    cmp "$work"/one/dist/*.deb "$work"/another/folder/dist/*.deb
    echo "the same, from two folders"
    exit
fi

if [[ -n $(git -C "$top" status --porcelain) ]]; then
    echo "note: what is not committed is in it as well" >&2
fi
build "$top" "$top/target/dist/build"
install -D -m 755 "$top/target/dist/build/release/transship" "$top/target/dist/transship"
"$top/packaging/deb/build.sh" "$top/target/dist/transship" "$top/target/dist"
(cd "$top/target/dist" && sha256sum transship ./*.deb | tee SHA256SUMS)
