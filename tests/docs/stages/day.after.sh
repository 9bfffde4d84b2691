until_true grep -q "drained, ending" "$state/cache.log"
journalctl
