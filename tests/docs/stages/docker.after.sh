at_least 3 'transship_fills_total{outcome="committed"'
at_least 1 'transship_requests_total{cache="hit"'
# While the mirror is away, docker goes to the Hub.
docker rmi --force alpine >/dev/null
cache_dies
docker pull --quiet alpine
