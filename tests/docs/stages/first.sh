. "$TRANSSHIP_STAGES/ops.lib"
serve "$(before https://registry.example)"
for _ in 1 2; do
    rm -rf /run/image
    skopeo copy --quiet --src-tls-verify=false docker://cache.example:5000/library/alpine:latest dir:/run/image
done
