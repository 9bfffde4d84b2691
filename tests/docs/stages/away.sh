. "$TRANSSHIP_STAGES/ops.lib"
# An address that refuses, one that takes connections and never answers, and a name that there is not.
python3 -c '
import socket, time
s = socket.create_server(("192.0.2.2", 8081)); time.sleep(600)' &
taken 192.0.2.2:8081 $!
for upstream in http://registry.example:8082 http://registry.nowhere.invalid; do
    serve "$(before "$upstream")"
    curl -sS -D - http://cache.example:5000/v2/team/app/manifests/1
    end
done
serve "$(before http://registry.example:8081 'transship: {upstream: {connect_timeout: 1s, head_timeout: 1s}}')"
for _ in 1 2 3; do
    curl -sS -D - http://cache.example:5000/v2/team/app/manifests/1
done
