until_true at_least 3 'transship_fills_total{outcome="committed"'
# By its name a cache without TLS is refused, unless it stands in insecure-registries.
if docker pull --quiet cache.example:5000/team/app:1 2>/dev/null; then exit 1; fi

# Over TLS, by the authority where the page says that it belongs.
cache_with_tls
if docker pull --quiet cache.example:5443/team/app:1 2>/dev/null; then exit 1; fi
mkdir -p /etc/docker/certs.d/cache.example:5443
cp /etc/transship/cache-ca.pem /etc/docker/certs.d/cache.example:5443/ca.crt
docker pull --quiet cache.example:5443/team/app:1
# While the mirror is away, docker goes to the Hub.
docker rmi --force alpine >/dev/null
cache_dies
docker pull --quiet alpine

# A login for Docker Hub opens private images through the mirror as well.
private_cache
echo '{"registry-mirrors": ["http://cache.example:5600"]}' >/etc/docker/daemon.json
kill -HUP "$(cat /run/docker.pid)"
until_true grep -q 'Reloaded configuration' "$state/dockerd.log"
if docker pull --quiet team/private:1 2>/dev/null; then exit 1; fi
mkdir -p ~/.docker
printf '{"auths": {"https://index.docker.io/v1/": {"auth": "%s"}}}' "$(printf alice:secret | base64)" >~/.docker/config.json
docker pull --quiet team/private:1
