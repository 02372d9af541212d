#!/usr/bin/env bash
# Side by side on one kernel in one run: one structure printed by ktrace type (from .BTF and from DWARF), pahole and gdb. Medians of several rounds, taken in
# turns, so that what else the machine does hits all alike; what counts is the ratio.
#
#   benchmarks/type.sh [--rounds N] [--ktrace PROGRAM] [--vmlinux FILE] [--no-gdb]
#
# FILE: by default the vmlinux with DWARF below $KTRACE_TEST_KERNEL_DIR. PROGRAM: by default artifacts/ktrace/ktrace. gdb takes many seconds: it runs once.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=7 ktrace=artifacts/ktrace/ktrace vmlinux= gdb=1
while [ $# -gt 0 ]; do
    case $1 in
        --rounds) rounds=$2; shift 2 ;;
        --ktrace) ktrace=$2; shift 2 ;;
        --vmlinux) vmlinux=$2; shift 2 ;;
        --no-gdb) gdb=0; shift ;;
        *) echo "usage: benchmarks/type.sh [--rounds N] [--ktrace PROGRAM] [--vmlinux FILE] [--no-gdb]" >&2; exit 2 ;;
    esac
done
if [ -z "$vmlinux" ]; then
    : "${KTRACE_TEST_KERNEL_DIR:?set it, or give --vmlinux FILE}"
    vmlinux=$(ls "$KTRACE_TEST_KERNEL_DIR"/usr/lib/debug/boot/vmlinux-* | head -n 1)
fi
for program in "$ktrace" pahole gdb /usr/bin/time; do
    command -v "$program" > /dev/null || { echo "benchmarks/type.sh: $program is missing" >&2; exit 2; }
done
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export LC_ALL=C

# measure NAME COMMAND...: appends "microseconds kilobytes" to NAME's list.
measure() {
    local name=$1 start end
    shift
    start=$EPOCHREALTIME
    /usr/bin/time -o "$folder/memory" -f %M "$@" < /dev/null > /dev/null 2> "$folder/errors" || true
    end=$EPOCHREALTIME
    echo "$((${end/./} - ${start/./})) $(tail -n 1 "$folder/memory")" >> "$folder/result.$name"
}

median() { sort -n "$1" | awk '{ v[NR] = $1; if ($2 > m) m = $2 } END { printf "%d %d\n", v[int((NR + 1) / 2)], m }'; }

# row WORK NAME PEER: one line of the table, with the ratio to the peer.
row() {
    local microseconds memory peer
    read -r microseconds memory < <(median "$folder/result.$2")
    read -r peer _ < <(median "$folder/result.$3")
    awk -v w="$1" -v n="${2//_/ }" -v t="$microseconds" -v m="$memory" -v p="$peer" \
        'BEGIN { printf "%-28s %-20s %8.3f s %8.0f MB %8.3f\n", w, n, t / 1e6, m / 1024, t / p }'
}

printf '%s, %s rounds, %s processors\n\n' "$(basename "$vmlinux")" "$rounds" "$(nproc)"
printf '%-28s %-20s %10s %11s %8s\n' work program median "peak memory" ratio
for ((round = 0; round <= rounds; round++)); do
    measure ktrace_btf "$ktrace" type --vmlinux "$vmlinux" 'struct irq_desc'
    measure ktrace_dwarf "$ktrace" type --vmlinux "$vmlinux" --from dwarf 'struct irq_desc'
    measure ktrace_variable "$ktrace" type --vmlinux "$vmlinux" init_task
    measure pahole_btf pahole -F btf -C irq_desc "$vmlinux"
    # The first round only fills the file cache.
    [ $round -gt 0 ] || rm "$folder"/result.*
done
measure pahole_dwarf pahole -F dwarf -C irq_desc "$vmlinux"
peer=pahole_btf
if [ $gdb -eq 1 ]; then
    measure gdb gdb -batch -nx -ex 'ptype /o struct irq_desc' "$vmlinux"
    peer=gdb
fi
for name in ktrace_btf ktrace_dwarf ktrace_variable pahole_btf pahole_dwarf; do
    row "struct irq_desc" "$name" "$peer"
done
[ $gdb -eq 0 ] || row "struct irq_desc" gdb gdb
