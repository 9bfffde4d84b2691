. "$TRANSSHIP_STAGES/ops.lib"
fails transship check <(before http://127.0.0.1:5000)
transship serve --upstream http://cache.example:5000 --listen 127.0.0.1:5004 --admin off --storage /mnt/other \
    >"$state/other.log" 2>&1 &
taken 127.0.0.1:5004 $!
serve "$(before http://127.0.0.1:5004)"
