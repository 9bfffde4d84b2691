at_least 3 'transship_fills_total{outcome="committed"'
at_least 3 'transship_requests_total{cache="hit"'
# While the mirror is away, podman goes to the registry.
cache_dies
podman rmi --force registry.example/team/app:1 >/dev/null
podman pull --quiet registry.example/team/app:1
