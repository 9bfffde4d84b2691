until_true grep -q "the process before this one has ended" "$state/cache.log"
grep -q 'storage=/mnt/blobs blobs=3' "$state/cache.log" || { transship status; false; }
