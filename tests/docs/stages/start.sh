. "$TRANSSHIP_STAGES/ops.lib"
nobody() {
    setpriv --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all --inh-caps=-all "$@"
}
mkdir /run/theirs
chown 65534 /run/theirs
serve "$(before https://registry.example)"
fails transship serve --upstream https://registry.example --listen :5000 --admin off --storage /run/a
fails transship serve --upstream https://registry.example --listen :5003 --admin 127.0.0.1:5001 --storage /run/b
fails transship serve --upstream https://registry.example --listen 198.51.100.1:5003 --admin off --storage /run/c
end
fails nobody transship serve --upstream https://registry.example --listen :443 --admin off --storage /run/theirs
fails nobody transship serve --upstream https://registry.example --listen :5003 --admin off --storage /root/cache
mkdir /run/roots
fails nobody transship serve --upstream https://registry.example --listen :5003 --admin off --storage /run/roots
fails transship serve /etc/transship/none.yml
fails transship status
# Starts that go well, and tell of something.
glance() { # COMMAND: as far as ready, then its end
    rm -f "$state/glance.log"
    "$@" >"$state/glance.log" 2>&1 &
    local glance=$!
    until_true grep -qs " ready " "$state/glance.log"
    cat "$state/glance.log"
    kill $(pgrep -P "$glance" || echo "$glance")
    wait "$glance" || :
}
start="transship serve --upstream https://registry.example --listen :5003 --admin off --storage /run/theirs"
glance strace -f --seccomp-bpf -qq -o /dev/null -e trace=io_uring_setup -e inject=io_uring_setup:error=EPERM $start
glance env MONOIO_FORCE_LEGACY_DRIVER=1 $start
chown -R 65534 /run/theirs
(ulimit -n 64 -l 0 && glance nobody $start)
