containerd config dump | grep -q 'config_path = "/etc/containerd/certs.d"'
until_true at_least 3 'transship_fills_total{outcome="committed"'
ctr images rm --sync registry.example/team/app:1
ctr images pull --hosts-dir /etc/containerd/certs.d registry.example/team/app:1 >/dev/null
until_true at_least 3 'transship_requests_total{cache="hit"'
# Over TLS, by the authority that the page has in the host's section. (Without it the registry itself would be asked.)
cache_with_tls
mkdir /etc/containerd/certs.tls /etc/containerd/certs.tls/registry.example
cp /etc/transship/cache-ca.pem /etc/containerd/certs.d/ca.pem
cat >/etc/containerd/certs.tls/registry.example/hosts.toml <<'TOML'
server = "https://cache.example:1"
[host."https://cache.example:5443"]
  capabilities = ["pull", "resolve"]
TOML
ctr images rm --sync registry.example/team/app:1
if ctr images pull --hosts-dir /etc/containerd/certs.tls registry.example/team/app:1 >/dev/null 2>&1; then exit 1; fi
echo '  ca = "/etc/containerd/certs.d/ca.pem"' >>/etc/containerd/certs.tls/registry.example/hosts.toml
ctr images pull --hosts-dir /etc/containerd/certs.tls registry.example/team/app:1 >/dev/null
# While the mirror is away, containerd goes to the registry.
ctr images rm --sync registry.example/team/app:1
cache_dies
ctr images pull --hosts-dir /etc/containerd/certs.d registry.example/team/app:1 >/dev/null

# A login that is given for a pull is shown to a mirror as well.
private_cache
sed -i s/:5000/:5600/ /etc/containerd/certs.d/registry.example/hosts.toml
if ctr images pull --hosts-dir /etc/containerd/certs.d registry.example/team/private:1 >/dev/null 2>&1; then exit 1; fi
ctr images pull --user alice:secret --hosts-dir /etc/containerd/certs.d registry.example/team/private:1 >/dev/null
