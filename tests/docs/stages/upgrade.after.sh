until_true grep -q "the process before this one has ended" "$state/cache.log"
journalctl
