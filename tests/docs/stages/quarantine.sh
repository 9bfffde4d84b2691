. "$TRANSSHIP_STAGES/ops.lib"
serve "$(before https://registry.example)"
damaged=$(layer)
curl -sS -o /dev/null "http://cache.example:5000/v2/team/app/blobs/$damaged"
until_true sh -c "transship show $damaged | grep -q stored"
printf XX | dd of="/var/lib/transship/blobs/sha256/${damaged:7:2}/${damaged:7}" bs=1 seek=1000 conv=notrunc status=none
