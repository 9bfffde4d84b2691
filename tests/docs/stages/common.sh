# What every stage has. A loopback alone, names of its own, and a registry over HTTP and HTTPS with an image in it.
#
#   registry.example:443    the registry, with a certificate of /etc/transship/registry-ca.pem
#   registry.example:5000   the same over plain HTTP
#   registry-1.docker.io    the same again, so that what falls back to Docker Hub finds something
#   cache.example           this host, on which transship is; /etc/transship/cache.pem and .key are a certificate
#                           for it by an authority that nobody trusts, /etc/transship/cache-ca.pem
#
# Images there: library/alpine:latest and team/app:1.
set -o pipefail
exec </dev/null
ip link set lo up
# Not of the loopback's own, which docker takes for safe without a certificate.
ip address add 192.0.2.1/32 dev lo
ip address add 192.0.2.2/32 dev lo

state=$STAGE/state
mkdir "$state"
# As large as disks are that examples are written for; nothing is taken until it is used.
mount -t tmpfs -o size=1t tmpfs "$state"
trap 'code=$?; ((code == 0)) || tail -v -n 20 "$state"/*.log | cut -c 1-300' EXIT
# What commands change below these is gone with the stage.
cp -a /etc "$state/etc"
mount --bind "$state/etc" /etc
for dir in /var/lib /var/log /run /root /mnt; do
    mkdir -p "$state$dir"
    mount --bind "$state$dir" "$dir"
done
export HOME=/root
cd "$STAGE/work"

rm -f /etc/hosts /etc/resolv.conf
cat >/etc/hosts <<'HOSTS'
127.0.0.1 localhost
192.0.2.1 cache.example
192.0.2.2 registry.example dtr.example near.example far.example registry-1.docker.io index.docker.io docker.io
HOSTS

# Waits until an address takes connections, or the process that should have taken them has ended.
taken() {
    while ! (exec 3<>"/dev/tcp/${1%:*}/${1##*:}") 2>/dev/null; do
        kill -0 "$2" || { echo "nobody listens on $1" >&2; return 1; }
        sleep 0.05
    done
}

# Waits until a command succeeds.
until_true() {
    local left=1200
    until "$@"; do
        ((left--)) || { echo "waited in vain until $*" >&2; return 1; }
        sleep 0.05
    done
}

mkdir -p /etc/transship
authority() { # NAME FILE.pem
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=$1" -keyout "$2.key" -out "$2"
}
certify() { # NAME FILE AUTHORITY.pem: FILE.pem and FILE.key
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$2.key" -out "$state/csr"
    printf 'subjectAltName=DNS:%s,DNS:dtr.example,DNS:registry-1.docker.io,DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n' "$1" >"$state/ext"
    openssl x509 -req -in "$state/csr" -CA "$3" -CAkey "$3.key" -CAcreateserial -days 30 \
  -extfile "$state/ext" -out "$2.pem"
}
{
    authority registry-ca /etc/transship/registry-ca.pem
    authority cache-ca /etc/transship/cache-ca.pem
    certify registry.example "$state/registry" /etc/transship/registry-ca.pem
    certify cache.example /etc/transship/cache /etc/transship/cache-ca.pem
} 2>"$state/openssl" || { cat "$state/openssl" >&2; exit 1; }
cat /etc/transship/registry-ca.pem >>/etc/ssl/certs/ca-certificates.crt

origin() { # ADDRESS TLS
    printf 'version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: "%s", secret: x%s}\n' \
        "$state/origin" "$1" "$2" >"$state/origin-$1.yml"
    docker-registry serve "$state/origin-$1.yml" >>"$state/origin-$1.log" 2>&1 &
    taken "$1" $!
}
origin 192.0.2.2:80 ''
origin 192.0.2.2:443 ", tls: {certificate: $state/registry.pem, key: $state/registry.key}"
mkdir -p /etc/containers
echo '{"default": [{"type": "insecureAcceptAnything"}]}' >/etc/containers/policy.json
for name in library/alpine:latest team/app:1; do
    skopeo copy --quiet --dest-tls-verify=false "oci:$STAGE/image:latest" "docker://192.0.2.2:80/$name"
done
# A push asks for what is not there, and the registry complains of that.
: >"$state/origin-192.0.2.2:80.log"

# A transship on port 5600 before a registry whose only image, team/private:1, is for alice with the password secret.
private_cache() {
    local at=192.0.2.2:8080
    echo 'alice:$2y$05$SSBZbdqDSuCsletpWCfhu.QYTMol8aHj5jmOJnvd87bM9wdUSYzRu' >"$state/htpasswd"
    printf 'version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: "%s", secret: x}\nauth: {htpasswd: {realm: registry, path: %s}}\n' \
        "$state/private" "$at" "$state/htpasswd" >"$state/private.yml"
    docker-registry serve "$state/private.yml" >"$state/private.log" 2>&1 &
    taken "$at" $!
    skopeo copy --quiet --dest-tls-verify=false --dest-creds alice:secret "oci:$STAGE/image:latest" \
        "docker://$at/team/private:1"
    transship serve --upstream "http://$at" --listen :5600 --admin off --storage /var/lib/transship-private \
        >"$state/cache-private.log" 2>&1 &
    taken 127.0.0.1:5600 $!
}

# A transship on this host's ports 5000 and 5001, before the registry; with more of its configuration, if any.
cache() { # [YAML]
    printf 'version: 0.1\nstorage: {filesystem: {rootdirectory: /var/lib/transship}}\nhttp: {addr: ":5000"}\n%s\n' "${1-}" \
        >"$state/cache.yml"
    transship serve "$state/cache.yml" --upstream http://registry.example >"$state/cache.log" 2>&1 &
    cache=$!
    disown
    taken 127.0.0.1:5000 "$cache"
}

# Another one with TLS, on 5443.
cache_with_tls() {
    REGISTRY_HTTP_TLS_CERTIFICATE=/etc/transship/cache.pem REGISTRY_HTTP_TLS_KEY=/etc/transship/cache.key \
        transship serve --upstream http://registry.example --listen :5443 --admin 127.0.0.1:5444 \
        --storage /var/lib/transship-tls >"$state/cache-tls.log" 2>&1 &
    taken 127.0.0.1:5443 $!
}

# What transship counts, summed over its labels.
counted() { # NAME[{LABEL="VALUE"
    curl -sS http://127.0.0.1:5001/metrics | awk -v name="$1" 'index($1, name) == 1 { sum += $2 } END { print sum + 0 }'
}
cache_dies() {
    kill -KILL "$cache"
    while (exec 3<>/dev/tcp/127.0.0.1/5000) 2>/dev/null; do
        sleep 0.05
    done
}
at_least() { # NUMBER NAME
    (($(counted "$2") >= $1))
}
