# Docker Hub's authority is not one that transship knows here: the registry by plain HTTP stands in for it.
export REGISTRY_PROXY_REMOTEURL=http://registry.example
# A mirror that has served a pull.
cat >"$state/mirror.yml" <<'YAML'
version: 0.1
log: {accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: /var/lib/registry}}
http: {addr: ":5000"}
proxy: {remoteurl: http://registry.example}
YAML
docker-registry serve "$state/mirror.yml" >"$state/mirror.log" 2>&1 &
mirror=$!
disown
taken 127.0.0.1:5000 "$mirror"
skopeo copy --quiet --src-tls-verify=false docker://127.0.0.1:5000/library/alpine:latest dir:before
# It stores beside the client, and is not done when that is.
blobs() {
    (($(find /var/lib/registry -name data -size +0 | wc -l) >= 4))
}
until_true blobs
systemctl() {
    [[ "$*" == "stop docker-registry" ]]
    kill "$mirror"
    while (exec 3<>/dev/tcp/127.0.0.1/5000) 2>/dev/null; do
        sleep 0.05
    done
}
