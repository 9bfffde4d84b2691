rm /var/lib/transship/somebody-elses
until_true curl -sSf http://127.0.0.1:5001/readyz >/dev/null 2>&1
mv /var/lib/transship/store /var/lib/transship/gone
until_true sh -c 'curl -sS http://127.0.0.1:5001/readyz | grep "storage missing"'
# A pull passes through all the same.
curl -sS -o /dev/null -w '%{http_code} %{size_download}\n' "http://cache.example:5000/v2/team/app/blobs/$layer"
mkdir /var/lib/transship/store
until_true curl -sSf http://127.0.0.1:5001/readyz
journalctl
