. "$TRANSSHIP_STAGES/ops.lib"
# A way to the registry that can be taken away.
way_to_the_registry() {
    python3 - <<'P' &
import socket, threading
def pipe(a, b):
    try:
        while data := a.recv(65536):
            b.sendall(data)
    except OSError:
        pass
    for s in (a, b):
        s.close()
listener = socket.create_server(("192.0.2.2", 8083))
while True:
    near, _ = listener.accept()
    far = socket.create_connection(("192.0.2.2", 80))
    for pair in ((near, far), (far, near)):
        threading.Thread(target=pipe, args=pair, daemon=True).start()
P
    way=$!
    disown
    taken 192.0.2.2:8083 "$way"
}
way_to_the_registry
serve "$(before http://registry.example:8083 'transship: {stale: {manifests: 24h}, access: {grace: 24h, remember: 1s}}')"
skopeo copy --quiet --src-tls-verify=false docker://cache.example:5000/team/app:1 dir:/run/image
curl -sS -o /dev/null -H 'Accept: application/vnd.oci.image.manifest.v1+json' http://cache.example:5000/v2/team/app/manifests/1
kill "$way"
while kill -0 "$way" 2>/dev/null; do sleep 0.05; done
# Somebody has found out that it is away.
curl -sS -o /dev/null http://cache.example:5000/v2/team/other/manifests/1
