. "$TRANSSHIP_STAGES/ops.lib"
serve "$(before https://registry.example 'transship: {server: {connections_per_address_max: 2}}')"
exec 5<>/dev/tcp/cache.example/5000 6<>/dev/tcp/cache.example/5000
until_true sh -c 'curl -sS http://127.0.0.1:5001/metrics | grep -q "^transship_connections 2"'
fails curl -sS http://cache.example:5000/v2/
