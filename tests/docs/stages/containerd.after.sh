containerd config dump | grep -q 'config_path = "/etc/containerd/certs.d"'
at_least 3 'transship_fills_total{outcome="committed"'
ctr images rm --sync registry.example/team/app:1
ctr images pull --hosts-dir /etc/containerd/certs.d registry.example/team/app:1 >/dev/null
at_least 3 'transship_requests_total{cache="hit"'
# While the mirror is away, containerd goes to the registry.
ctr images rm --sync registry.example/team/app:1
cache_dies
ctr images pull --hosts-dir /etc/containerd/certs.d registry.example/team/app:1 >/dev/null
