. "$TRANSSHIP_STAGES/ops.lib"
serve "$(before https://registry.example)"
mkdir -p /etc/containerd/certs.d/registry.example
cat >/run/containerd.toml <<T
version = 2
root = "$state/containerd"
state = "$state/containerd.state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "/run/containerd.sock"
[ttrpc]
  address = "/run/containerd.ttrpc"
T
containerd --config /run/containerd.toml >"$state/containerd.log" 2>&1 &
until_true test -S /run/containerd.sock
ctr() {
    command ctr --address /run/containerd.sock "$@"
}
# The scheme is wrong: containerd goes to the registry, and says nothing.
cat >/etc/containerd/certs.d/registry.example/hosts.toml <<T
server = "https://registry.example"

[host."https://cache.example:5000"]
  capabilities = ["pull", "resolve"]
T
ctr images pull --snapshotter native --hosts-dir /etc/containerd/certs.d registry.example/team/app:1 >/dev/null
