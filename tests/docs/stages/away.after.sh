journalctl
transship status
