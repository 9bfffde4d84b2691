# The layers were sent by the cache, and the image is what was pushed.
transship ls --json | grep -q '"digest"'
cmp some-image/manifest.json pulled/manifest.json
