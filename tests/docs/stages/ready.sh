. "$TRANSSHIP_STAGES/ops.lib"
serve "$(before https://registry.example 'health: {file: [{file: /run/out-of-service, interval: 1s}]}')"
touch /run/out-of-service
until_true sh -c '! curl -sSf http://127.0.0.1:5001/readyz >/dev/null 2>&1'
