cache
# An overlay cannot lie on every file system that tests run on.
printf '[storage]\ndriver = "vfs"\nrunroot = "/run/containers/storage"\ngraphroot = "/var/lib/containers/storage"\n' \
    >/etc/containers/storage.conf
printf '[engine]\nevents_logger = "none"\ncgroup_manager = "cgroupfs"\n' >/etc/containers/containers.conf
