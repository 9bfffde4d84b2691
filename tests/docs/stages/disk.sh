. "$TRANSSHIP_STAGES/ops.lib"
mkdir -p /var/lib/transship
mount -t tmpfs -o size=60m tmpfs /var/lib/transship
mkdir /var/lib/transship/store
serve "$(before https://registry.example | sed 's,/var/lib/transship,/var/lib/transship/store,')"
layer=$(layer)
head -c 70M /dev/zero >/var/lib/transship/somebody-elses 2>/dev/null || :
curl -sS -o /dev/null "http://cache.example:5000/v2/team/app/blobs/$layer"
until_true sh -c '! curl -sSf http://127.0.0.1:5001/readyz >/dev/null 2>&1'
