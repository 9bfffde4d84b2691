#!/usr/bin/env bash
# Makes the Debian package of a program that was built before: build.sh [--version V] PROGRAM FOLDER
#
# PROGRAM is put in as it is, but for what strip takes away; it is run once to write its manual page and the
# completions, so it has to be one for this machine. The package goes to FOLDER, and its path to standard output. The
# same program and the same $SOURCE_DATE_EPOCH (without it: the time of the last commit) give the same bytes.
set -euo pipefail
umask 022
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)

version=
if [[ ${1-} == --version ]]; then
    version=$2
    shift 2
fi
if (($# != 2)); then
    echo "usage: $0 [--version VERSION] PROGRAM FOLDER" >&2
    exit 2
fi
program=$(realpath "$1")
mkdir -p "$2"
out=$(realpath "$2")
: "${version:=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$top/Cargo.toml" | head -n 1)-1}"
: "${SOURCE_DATE_EPOCH:=$(git -C "$top" log -1 --format=%ct)}"
export SOURCE_DATE_EPOCH
arch=$(dpkg --print-architecture)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
put() { install -D -m "$1" "$2" "$root/$3"; }
# Compressed without a name and a time, so that the same text gives the same bytes.
packed() { install -d "$(dirname "$root/$1")" && gzip -9n >"$root/$1"; }

put 755 "$program" usr/bin/transship
strip --strip-unneeded --remove-section=.comment --remove-section=.note "$root/usr/bin/transship"

for unit in "$top"/systemd/*.service "$top"/systemd/*.socket; do
    put 644 "$unit" "lib/systemd/system/${unit##*/}"
done
put 644 "$here/config.yml" etc/transship/config.yml
put 644 "$here/lintian-overrides" usr/share/lintian/overrides/transship

"$program" man | packed usr/share/man/man1/transship.1.gz
install -d "$root"/usr/share/{bash-completion/completions,zsh/vendor-completions,fish/vendor_completions.d}
"$program" completions bash >"$root/usr/share/bash-completion/completions/transship"
"$program" completions zsh >"$root/usr/share/zsh/vendor-completions/_transship"
"$program" completions fish >"$root/usr/share/fish/vendor_completions.d/transship.fish"

doc=usr/share/doc/transship
put 644 "$here/copyright" $doc/copyright
packed $doc/changelog.gz <"$top/CHANGELOG.md"
packed $doc/changelog.Debian.gz <<TEXT
transship ($version) unstable; urgency=medium

  * What changes for operators: see changelog.gz.

 -- $(sed -n 's/^Maintainer: //p' "$here/control.in")  $(date -u -R -d "@$SOURCE_DATE_EPOCH")
TEXT
for page in "$top"/docs/*.md; do
    packed "$doc/${page##*/}.gz" <"$page"
done
# Examples, and not in force: a package does not retune a host that others share, nor pin processors of it.
for example in "$top"/tuning/90-transship.conf "$top"/systemd/transship.service.d/*.conf "$top"/docs/prometheus/*.rules.yml \
    "$top"/docs/grafana/*.json; do
    [[ -e $example ]] && put 644 "$example" "$doc/examples/${example##*/}"
done
[[ -e $top/tuning/nic-queues.sh ]] && put 755 "$top/tuning/nic-queues.sh" $doc/examples/nic-queues.sh

# What libraries the program needs, and how new: found in it rather than written down.
mkdir -p "$work/debian"
printf 'Source: transship\n\nPackage: transship\nArchitecture: any\n' >"$work/debian/control"
libraries=$(cd "$work" && dpkg-shlibdeps -O "$root/usr/bin/transship" | sed -n 's/^shlibs:Depends=//p')

install -d "$root/DEBIAN"
sed -e "s/@VERSION@/$version/" -e "s/@ARCH@/$arch/" -e "s/@LIBRARIES@/$libraries/" \
    -e "s/@SIZE@/$(du -k -s --apparent-size "$root" | cut -f 1)/" "$here/control.in" >"$root/DEBIAN/control"
echo /etc/transship/config.yml >"$root/DEBIAN/conffiles"
for script in postinst prerm postrm; do
    install -m 755 "$here/$script" "$root/DEBIAN/$script"
done
(cd "$root" && find . -type f -not -path './DEBIAN/*' -printf '%P\0' | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"

find "$root" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
# Compressed by one thread: what comes out does not depend on how many there are.
package=$out/transship_${version}_${arch}.deb
dpkg-deb --root-owner-group -Zxz --threads-max=1 --build "$root" "$package" >&2
echo "$package"
