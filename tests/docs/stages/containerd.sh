cache
# An overlay cannot lie on every file system that tests run on.
export CONTAINERD_SNAPSHOTTER=native
systemctl() {
    [[ "$*" == "restart containerd" ]]
    containerd >"$state/containerd.log" 2>&1 &
    until_true ctr version >/dev/null 2>&1 || { tail "$state/containerd.log" >&2; return 1; }
}
