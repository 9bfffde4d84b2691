# What every stage has. A loopback alone, names of its own, and a registry over HTTP and HTTPS with an image in it.
#
#   registry.example:443    the registry, with a certificate of /etc/transship/registry-ca.pem
#   registry.example:5000   the same over plain HTTP
#   cache.example           this host, on which transship is
#
# Images there: library/alpine:latest and team/app:1.
set -o pipefail
exec </dev/null
ip link set lo up

state=$STAGE/state
mkdir "$state"
mount -t tmpfs tmpfs "$state"
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
127.0.0.1 localhost cache.example node-1.example
127.0.0.2 registry.example near.example far.example registry-1.docker.io index.docker.io docker.io
HOSTS

# Waits until an address takes connections, or the process that should have taken them has ended.
taken() {
    while ! (exec 3<>"/dev/tcp/${1%:*}/${1##*:}") 2>/dev/null; do
        kill -0 "$2" || { echo "nobody listens on $1" >&2; return 1; }
        read -rt 0.05 <> <(:) || :
    done
}

# Waits until a command succeeds.
until_true() {
    local left=1200
    until "$@"; do
        ((left--)) || { echo "waited in vain until $*" >&2; return 1; }
        read -rt 0.05 <> <(:) || :
    done
}

mkdir -p /etc/transship
certify() { # NAME FILE: FILE.pem and FILE.key
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$2.key" -out "$state/csr"
    printf 'subjectAltName=DNS:%s,DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n' "$1" >"$state/ext"
    openssl x509 -req -in "$state/csr" -CA /etc/transship/registry-ca.pem -CAkey "$state/ca.key" -CAcreateserial \
        -days 30 -extfile "$state/ext" -out "$2.pem"
}
{
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=example-ca \
        -keyout "$state/ca.key" -out /etc/transship/registry-ca.pem
    certify registry.example "$state/registry"
    certify cache.example /etc/transship/cache
} 2>"$state/openssl" || { cat "$state/openssl" >&2; exit 1; }
cat /etc/transship/registry-ca.pem >>/etc/ssl/certs/ca-certificates.crt

origin() { # ADDRESS TLS
    printf 'version: 0.1\nlog: {level: warn}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: "%s", secret: x%s}\n' \
        "$state/origin" "$1" "$2" >"$state/origin-$1.yml"
    docker-registry serve "$state/origin-$1.yml" >"$state/origin-$1.log" 2>&1 &
    taken "$1" $!
}
origin 127.0.0.2:5000 ''
origin 127.0.0.2:443 ", tls: {certificate: $state/registry.pem, key: $state/registry.key}"
mkdir -p /etc/containers
echo '{"default": [{"type": "insecureAcceptAnything"}]}' >/etc/containers/policy.json
for name in library/alpine:latest team/app:1; do
    skopeo copy --quiet --dest-tls-verify=false "oci:$STAGE/image:latest" "docker://127.0.0.2:5000/$name"
done
