. "$TRANSSHIP_STAGES/ops.lib"
serve "$(before https://registry.example)"
