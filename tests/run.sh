#!/usr/bin/env bash
# Every check of transship, on a Debian 12 with Rust: run it from anywhere, as root for the
# containerd test. What is missing is installed first; what cannot be had fails, nothing is skipped.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; }

# Program and the Debian package that has it.
needed=(
    cc:gcc
    docker-registry:docker-registry
    skopeo:skopeo
    podman:podman
    containerd:containerd
    dockerd:docker.io
    docker:docker.io
    ctr:containerd
    nginx:nginx-light
    wrk:wrk
    curl:curl
    chromium:chromium
    script:bsdutils
    strace:strace
    jq:jq
    pgrep:procps
    setpriv:util-linux
    taskset:util-linux
    mount:mount
    mkfs.ext4:e2fsprogs
    mkfs.xfs:xfsprogs
    faketime:faketime
    fusermount3:fuse3
    bindfs:bindfs
    glusterfs:glusterfs-client
    glusterfsd:glusterfs-server
    prlimit:util-linux
    findmnt:util-linux
    systemd-analyze:systemd
    systemd-nspawn:systemd-container
    mmdebstrap:mmdebstrap
    dpkg-shlibdeps:dpkg-dev
    lintian:lintian
    openssl:openssl
    ip:iproute2
    unshare:util-linux
    python3:python3-venv
    promtool:prometheus
    prometheus:prometheus
    pg_ctlcluster:postgresql
)

missing_packages() {
    local pair
    for pair in "${needed[@]}"; do
        command -v "${pair%%:*}" >/dev/null || echo "${pair##*:}"
    done | sort -u
}

step "real parts: registries, clients, tools"
export PATH="$PATH:/usr/sbin:/sbin"
mapfile -t missing < <(missing_packages)
if ((${#missing[@]})); then
    if ((EUID != 0)); then
        echo "missing, and only root can install them: ${missing[*]}" >&2
        exit 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    apt-get install -q -y --no-install-recommends "${missing[@]}"
    mapfile -t missing < <(missing_packages)
    if ((${#missing[@]})); then
        echo "still missing after the installation: ${missing[*]}" >&2
        exit 1
    fi
fi
if ((EUID != 0)); then
    echo "containerd unpacks images by mounting: run this as root" >&2
    exit 1
fi

step "shell scripts"
for script in tests/run.sh .ci/run packaging/release.sh packaging/deb/build.sh tuning/nic-queues.sh; do
    bash -n "$script"
done
for script in tests/docs/stages/*.sh; do
    bash -n "$script"
done
for script in packaging/deb/{postinst,prerm,postrm}; do
    sh -n "$script"
done

step "systemd units"
units=$(mktemp -d)
trap 'rm -rf "$units"' EXIT
# Drop-ins beside it, so that the examples are read as well.
cp -r systemd/*.d systemd/*.socket "$units/"
for unit in systemd/*.service; do
    # The program is not installed where the unit expects it; all else is checked as it is.
    sed -E 's#^(ExecStart(Pre)?)=/usr/bin/transship #\1=/bin/true #' "$unit" >"$units/${unit##*/}"
done
for unit in "$units"/*.socket "$units"/*.service; do
    said=$(systemd-analyze verify --man=no --recursive-errors=no "$unit" 2>&1)
    if [[ -n $said ]]; then
        printf '%s\n' "$said" >&2
        exit 1
    fi
    [[ $unit == *.socket ]] && continue
    # 25 of 100: what is let through beyond that has to be explained.
    systemd-analyze security --offline=true --threshold=25 "$unit" >/dev/null
done

step "format"
cargo fmt --check

step "lints"
cargo clippy --locked --all-targets -- -D warnings

step "benches, once and small"
cargo test --locked --bench load --bench signed --bench replay --bench million --bench distance

step "fuzz targets: seeds, mutants, random bytes"
TRANSSHIP_FUZZ_ROUNDS=10000 cargo test --locked --test fuzz

step "tests: units, real parts, documentation"
cargo test --locked

step "all checks passed"
