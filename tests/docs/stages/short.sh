. "$TRANSSHIP_STAGES/ops.lib"
faulty
serve "$(before http://registry.example:8080)"
blob=sha256:$(head -c 3000000 /dev/zero | sha256sum | cut -c -64)
fails curl -sS -o /dev/null "http://cache.example:5000/v2/team/other/blobs/$blob"
