. "$TRANSSHIP_STAGES/ops.lib"
pull='skopeo inspect --raw docker://cache.example:5000/team/app:1'
# Clients against the cache: plain HTTP where they want TLS, an authority that they do not know, another name.
serve "$(before https://registry.example)"
fails $pull
end
tls() {
    before https://registry.example | sed "s,:5000\"},:5000\"\, tls: {certificate: $1.pem\, key: $1.key}},"
}
serve "$(tls /etc/transship/cache)"
fails $pull
fails curl -sS http://cache.example:5000/v2/
certify other.example /run/other /etc/transship/registry-ca.pem 2>/dev/null
cp /run/other.pem /etc/transship/cache.pem
until_true grep -q 'cannot be used' "$state/cache.log"
cp /run/other.key /etc/transship/cache.key
until_true grep -q 'new certificate in use: for other.example' "$state/cache.log"
fails $pull
end
# The cache against its upstream.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=registry.example \
    -addext subjectAltName=DNS:registry.example -keyout /run/self.key -out /run/self.pem 2>/dev/null
for pair in "/run/other.key /run/other.pem" "/run/self.key /run/self.pem"; do
    set -- $pair
    printf 'version: 0.1\nlog: {level: error}\nstorage: {inmemory: {}}\nhttp: {addr: "192.0.2.2:8443", tls: {certificate: %s, key: %s}}\n' \
        "$2" "$1" >/run/registry.yml
    docker-registry serve /run/registry.yml >/dev/null 2>&1 &
    registry=$!
    taken 192.0.2.2:8443 "$registry"
    serve "$(before https://registry.example:8443)"
    curl -sS http://cache.example:5000/v2/team/app/manifests/1
    end
    kill "$registry"
    wait "$registry" || :
done
serve "$(before https://registry.example | sed 's/, cas: .*]}/}/')"
curl -sS http://cache.example:5000/v2/team/app/manifests/1
end
faulty
serve "$(before https://registry.example:8080)"
curl -sS http://cache.example:5000/v2/team/app/manifests/1
