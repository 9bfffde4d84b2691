#!/usr/bin/env bash
# Spreads a network card's work over all processors, until the next boot: nic-queues.sh [-n] CARD
#
# -n says what would be done. Why, and what else does it: README.md beside this. Read it before it runs on a host that
# others share: it changes the card for all of them.
set -euo pipefail

dry=
if [[ ${1-} == -n ]]; then
    dry=1
    shift
fi
if (($# != 1)) || [[ ! -d /sys/class/net/$1/queues ]]; then
    echo "usage: $0 [-n] CARD, with CARD one of: $(cd /sys/class/net && echo *)" >&2
    exit 2
fi
card=$1
processors=$(getconf _NPROCESSORS_ONLN)

run() { if [[ $dry ]]; then echo "would run: $*"; else "$@"; fi; }
put() { if [[ $dry ]]; then echo "would write $1 to $2"; else echo "$1" >"$2"; fi; }

# As many queues as processors, or as many as the card has.
if command -v ethtool >/dev/null; then
    most=$(ethtool -l "$card" 2>/dev/null | awk '/^Combined:/ { print $2; exit }')
    if [[ $most =~ ^[0-9]+$ ]] && ((most > 1)); then
        run ethtool -L "$card" combined $((most < processors ? most : processors)) || true
    fi
else
    echo "without ethtool the number of queues stays as it is" >&2
fi

# Each queue's interrupt on a processor of its own, by turns. Virtual cards name theirs for the device.
device=$(basename "$(readlink -f "/sys/class/net/$card/device" 2>/dev/null || echo "$card")")
turn=0
while read -r number; do
    put $((turn % processors)) "/proc/irq/$number/smp_affinity_list"
    turn=$((turn + 1))
done < <(awk -v card="$card-" -v device="$device-" '
    { name = $NF }
    name ~ /-config$/ { next }
    index(name, card) == 1 || index(name, device) == 1 { sub(/:$/, "", $1); print $1 }' /proc/interrupts)

# A single queue: the kernel hands packets on to the other processors.
queues=("/sys/class/net/$card/queues/"rx-*)
if ((${#queues[@]} == 1 && processors > 1)); then
    # Groups of 32 processors, parted by commas, the last ones first.
    mask=
    for ((left = processors; left > 0; left -= 32)); do
        group=$(printf '%x' $(((1 << (left < 32 ? left : 32)) - 1)))
        mask=${mask:+$mask,}$group
    done
    # The partial group is that of the highest processors, which comes first.
    mask=$(tr , '\n' <<<"$mask" | tac | paste -s -d , -)
    put "$mask" "${queues[0]}/rps_cpus"
fi
