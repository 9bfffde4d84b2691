. "$TRANSSHIP_STAGES/ops.lib"
faulty
serve "$(before http://registry.example:8080)"
