#!/usr/bin/env bash
# Side by side on one kernel in one run: ktrace sym, gdb, addr2line, llvm-symbolizer. Medians of several rounds, taken in turns,
# so that what else the machine does hits all alike; what counts is the ratio.
#
#   benchmarks/sym.sh [--rounds N] [--ktrace PROGRAM] [--vmlinux FILE]
#
# FILE: by default the vmlinux with DWARF below $KTRACE_TEST_KERNEL_DIR. PROGRAM: by default artifacts/ktrace/ktrace.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=5 ktrace=artifacts/ktrace/ktrace vmlinux=
while [ $# -gt 0 ]; do
    case $1 in
        --rounds) rounds=$2 ;;
        --ktrace) ktrace=$2 ;;
        --vmlinux) vmlinux=$2 ;;
        *) echo "usage: benchmarks/sym.sh [--rounds N] [--ktrace PROGRAM] [--vmlinux FILE]" >&2; exit 2 ;;
    esac
    shift 2
done
if [ -z "$vmlinux" ]; then
    : "${KTRACE_TEST_KERNEL_DIR:?set it, or give --vmlinux FILE}"
    vmlinux=$(ls "$KTRACE_TEST_KERNEL_DIR"/usr/lib/debug/boot/vmlinux-* | head -n 1)
fi
llvm=$(command -v llvm-symbolizer-14 || command -v llvm-symbolizer)
for program in "$ktrace" gdb addr2line "$llvm" /usr/bin/time; do
    command -v "$program" > /dev/null || { echo "benchmarks/sym.sh: $program is missing" >&2; exit 2; }
done

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export LC_ALL=C

# The function for the single look-up, and seeded random addresses of .text.
address=0x$(nm "$vmlinux" | awk '$3 == "request_threaded_irq" { print $1 }')
read -r base size < <(readelf -SW "$vmlinux" | sed 's/\[ */[/' | awk '$2 == ".text" { print "0x" $4, "0x" $6 }')
RANDOM=42
for ((i = 0; i < 100000; i++)); do
    printf '0x%x\n' $((base + ((RANDOM << 30) | (RANDOM << 15) | RANDOM) % size))
done > "$folder/100000"
head -n 10000 "$folder/100000" > "$folder/10000"
head -n 782 "$folder/100000" > "$folder/782"

# measure NAME INPUT COMMAND...: appends "seconds kilobytes" to NAME's list.
measure() {
    local name=$1 input=$2 start end
    shift 2
    start=$EPOCHREALTIME
    /usr/bin/time -o "$folder/memory" -f %M "$@" < "$input" > /dev/null 2> "$folder/errors" || true
    end=$EPOCHREALTIME
    echo "$((${end/./} - ${start/./})) $(tail -n 1 "$folder/memory")" >> "$folder/result.$name"
}

median() { sort -n "$1" | awk '{ v[NR] = $1; if ($2 > m) m = $2 } END { printf "%d %d\n", v[int((NR + 1) / 2)], m }'; }

# row WORK NAME PEER: one line of the table, with the ratio to the peer.
row() {
    local microseconds memory peer
    read -r microseconds memory < <(median "$folder/result.$2")
    read -r peer _ < <(median "$folder/result.$3")
    awk -v w="$1" -v n="$2" -v t="$microseconds" -v m="$memory" -v p="$peer" \
        'BEGIN { sub(/-.*/, "", n); printf "%-28s %-16s %8.3f s %8.0f MB %8.2f\n", w, n, t / 1e6, m / 1024, t / p }'
}

printf '%s, %s rounds, %s processors\n\n' "$(basename "$vmlinux")" "$rounds" "$(nproc)"
printf '%-28s %-16s %10s %11s %8s\n' work program median "peak memory" ratio

for ((round = 0; round <= rounds; round++)); do
    measure ktrace-one /dev/null "$ktrace" sym --vmlinux "$vmlinux" "$address"
    measure gdb-one /dev/null gdb -batch -nx -ex "info line *$address" "$vmlinux"
    # The first round only fills the file cache.
    [ $round -gt 0 ] || rm "$folder"/result.*
done
row "one address" ktrace-one gdb-one
row "one address" gdb-one gdb-one

for count in 782 10000 100000; do
    for ((round = 0; round < rounds; round++)); do
        measure ktrace-$count "$folder/$count" "$ktrace" sym --vmlinux "$vmlinux"
        measure ktrace_addr2line-$count "$folder/$count" "$ktrace" sym --format addr2line --vmlinux "$vmlinux"
        measure llvm_symbolizer-$count "$folder/$count" "$llvm" --obj="$vmlinux"
        # Slow and always the same: once is enough.
        [ $round -gt 0 ] || measure addr2line-$count "$folder/$count" addr2line -afi -e "$vmlinux"
    done
    for name in ktrace ktrace_addr2line llvm_symbolizer addr2line; do
        row "$count addresses, inlines" "$name-$count" "llvm_symbolizer-$count"
    done
done
