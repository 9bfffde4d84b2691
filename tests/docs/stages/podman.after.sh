until_true at_least 3 'transship_fills_total{outcome="committed"'
skopeo copy --quiet docker://registry.example/team/app:1 dir:again
until_true at_least 3 'transship_requests_total{cache="hit"'
# Over TLS, by the authority where the page says that it belongs.
cache_with_tls
if skopeo inspect docker://cache.example:5443/team/app:1 2>/dev/null; then exit 1; fi
mkdir -p /etc/containers/certs.d/cache.example:5443
cp /etc/transship/cache-ca.pem /etc/containers/certs.d/cache.example:5443/ca.crt
skopeo inspect docker://cache.example:5443/team/app:1 >/dev/null
# While the mirror is away, podman goes to the registry.
cache_dies
podman rmi --force registry.example/team/app:1 >/dev/null
podman pull --quiet registry.example/team/app:1

# A login is for the host that it was made at, be that a mirror.
private_cache
sed -i s/:5000/:5600/ /etc/containers/registries.conf.d/transship.conf
auth=$(printf alice:secret | base64)
export REGISTRY_AUTH_FILE=$state/auth.json
printf '{"auths": {"registry.example": {"auth": "%s"}}}' "$auth" >"$REGISTRY_AUTH_FILE"
if podman pull --quiet registry.example/team/private:1 2>/dev/null; then exit 1; fi
printf '{"auths": {"cache.example:5600": {"auth": "%s"}}}' "$auth" >"$REGISTRY_AUTH_FILE"
podman pull --quiet registry.example/team/private:1
