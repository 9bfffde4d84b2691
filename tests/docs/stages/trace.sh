. "$TRANSSHIP_STAGES/ops.lib"
mkdir -p /var/log/transship
serve "$(before https://registry.example "transship: {access_log: {output: /var/log/transship/access.log, format: json}}")"
# The log is written a moment after the answer.
grep() {
    until_true command grep -q "$1" "$2"
    command grep "$@"
}
