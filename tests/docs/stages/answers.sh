. "$TRANSSHIP_STAGES/ops.lib"
faulty
serve "$(before http://registry.example:8080)"
# What docker and skopeo make of each answer.
dockerd --iptables=false --ip6tables=false --bridge=none --storage-driver=vfs --insecure-registry=cache.example:5000 --host unix:///run/docker.sock \
    --pidfile /run/docker.pid >"$state/dockerd.log" 2>&1 &
until_true docker version >/dev/null 2>&1
for name in login denied absent broken page busy; do
    fails docker pull --quiet "cache.example:5000/team/$name:1"
    fails skopeo inspect --raw --tls-verify=false "docker://cache.example:5000/team/$name:1"
done
# Another process has not heard that it is to leave the registry alone.
end
serve "$(before http://registry.example:8080)"
