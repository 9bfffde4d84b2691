mkdir -p /etc/docker/registry
cat >/etc/docker/registry/config.yml <<'YAML'
version: 0.1
storage: {filesystem: {rootdirectory: /var/lib/registry}}
http: {addr: ":5000"}
proxy: {remoteurl: http://registry.example}
YAML
