cache
mkdir -p /etc/docker
# Of the host's own daemon nothing is touched: sockets and data are the stage's. Networks for containers, which pulls
# need none of, would want the host's iptables.
dockerd_starts() {
    dockerd --iptables=false --ip6tables=false --bridge=none --storage-driver=vfs --host unix:///run/docker.sock \
        --pidfile /run/docker.pid "$@" >"$state/dockerd.log" 2>&1 &
    until_true docker version >/dev/null 2>&1 || { tail "$state/dockerd.log" >&2; return 1; }
}
systemctl() { # restart docker
    [[ "$*" == "restart docker" ]] && dockerd_starts
}
