. "$TRANSSHIP_STAGES/ops.lib"
serve "$(before https://registry.example)"
layer=$(layer)
curl -sS -o /dev/null "http://cache.example:5000/v2/team/app/blobs/$layer"
until_true sh -c "transship show $layer | grep -q stored"
end
printf XX | dd of="/var/lib/transship/blobs/sha256/${layer:7:2}/${layer:7}" bs=1 seek=1000 conv=notrunc status=none
verify_says() { # verify ends with 1 where it found something.
    fails transship verify "$@"
}
