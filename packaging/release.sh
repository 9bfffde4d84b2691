#!/usr/bin/env bash
# Builds what is released: the program and the Debian package, in target/dist/. The same commit, Rust version and C
# compiler give the same bytes, wherever the sources lie.
#
#   packaging/release.sh           builds
#   packaging/release.sh --check   builds twice, from copies of the commit in two folders, and compares
#
# What would differ from build to build is fixed here: times are that of the commit, the crates those of Cargo.lock,
# paths are cut to where they begin to mean something, code generation is by the profile of Cargo.toml.
set -euo pipefail
umask 022
export LC_ALL=C TZ=UTC
top=$(cd "$(dirname "$0")/.." && pwd)
SOURCE_DATE_EPOCH=$(git -C "$top" log -1 --format=%ct)
export SOURCE_DATE_EPOCH

# Builds the sources in $1, with whatever cargo needs below $2.
build() {
    local sources=$1 target=$2
    local home=${CARGO_HOME:-$HOME/.cargo} toolchain
    toolchain=$(cd "$sources" && rustc --print sysroot)
    # Paths of sources stand in panics' messages and in debug information; those of C in aws-lc's.
    local from="$sources=transship"
    # Nothing of the caller's may leak in: RUSTFLAGS below replaces it, profiles are not to be overridden.
    (
        cd "$sources"
        unset "${!CARGO_PROFILE_@}" CARGO_BUILD_RUSTFLAGS
        export CARGO_TARGET_DIR=$target CARGO_INCREMENTAL=0
        export RUSTFLAGS="--remap-path-prefix=$from --remap-path-prefix=$target=target --remap-path-prefix=$home=cargo --remap-path-prefix=$toolchain=rust"
        export CFLAGS="-ffile-prefix-map=$from -ffile-prefix-map=$target=target -ffile-prefix-map=$home=cargo"
        nice cargo build --release --locked --bin transship
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
