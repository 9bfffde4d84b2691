. "$TRANSSHIP_STAGES/ops.lib"
mkdir -p /var/lib/transship/store
serve "$(before https://registry.example | sed 's,/var/lib/transship,/var/lib/transship/store,')"
