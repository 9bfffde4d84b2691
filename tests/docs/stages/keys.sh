. "$TRANSSHIP_STAGES/ops.lib"
serve "$(before https://registry.example | sed 's,:5000"},:5000"\, tls: {certificate: /etc/transship/cache.pem\, key: /etc/transship/cache.key}},')"
certify cache.example /etc/transship/new /etc/transship/cache-ca.pem 2>/dev/null
