until_true grep -q "the process before this one has ended" "$state/cache.log"
grep -q 'storage=/mnt/blobs' "$state/cache.log"
until_true sh -c 'transship status | grep -q "stored  *4 blobs"'
