#!/usr/bin/env bash
# Hits per second at a hot function, side by side in one run: a bare c/s loop over the stub (the limit of stopping), ktrace record with a full call
# path at every hit, the same with all arguments, and gdb with `commands bt c`. Prints a table; the ratio to the bare loop is what counts.
#   benchmarks/record.sh [HITS] [ROUNDS]
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
hits=${1:-2000}
rounds=${2:-3}
function=kmem_cache_alloc

command -v python3 >/dev/null && command -v gdb >/dev/null || { echo "record.sh: python3 and gdb are needed (apt-get install python3 gdb)" >&2; exit 2; }
kernel=$(./ktrace kernel fetch --json 2>/dev/null | sed -n 's|.*"image": "\(.*\)/boot/vmlinuz.*|\1|p')
image=$(echo "$kernel"/boot/vmlinuz-*)
vmlinux=$(echo "$kernel"/usr/lib/debug/boot/vmlinux-*)
address=$(nm "$vmlinux" | sed -n "s/ [tT] $function\$//p" | head -1)
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$folder"' EXIT
append='console=ttyS0 nokaslr'

qemu() { # socket: the same machine that ktrace starts
    qemu-system-x86_64 -machine q35 -accel tcg -m 512M -smp 1 -kernel "$image" -append "$append" -nic none -display none -no-reboot \
        -S -gdb "unix:$1,server=on,wait=off" -serial null -monitor none &
    for _ in $(seq 100); do [ -S "$1" ] && break; sleep 0.05; done
}

bare() {
    qemu "$folder/bare.sock"
    python3 benchmarks/bare_loop.py "$folder/bare.sock" "$address" "$hits"
    kill %% 2>/dev/null; wait 2>/dev/null || true
    rm -f "$folder/bare.sock"
}

ours() { # options of ktrace record
    ./ktrace record --kernel "$image" --vmlinux "$vmlinux" --append "$append" -b $function --max-hits "$hits" "$@" -o "$folder/hot.ktrace" >/dev/null 2>&1
    ./ktrace show "$folder/hot.ktrace" --stats | sed -n 's|^rate *\([0-9.,]*\) hits/s.*|\1|p' | tr -d ,
}

gdb_rate() {
    local few=$((hits / 4))
    qemu "$folder/gdb.sock"
    cat >"$folder/script" <<END
set pagination off
set confirm off
target remote $folder/gdb.sock
hbreak *0x$address
set \$n = 0
set \$first = 0
commands 1
silent
bt
python
import gdb, time
n = int(gdb.parse_and_eval("\$n"))
global t0
if n == 0: t0 = time.monotonic()
if n + 1 == $few:
    open("$folder/gdb.rate", "w").write("%.1f" % (n / (time.monotonic() - t0)))
    gdb.execute("kill"); gdb.execute("quit")
gdb.execute("set \$n = %d" % (n + 1))
end
continue
end
continue
END
    gdb -batch -nx -x "$folder/script" "$vmlinux" >/dev/null 2>&1 || true
    kill %% 2>/dev/null; wait 2>/dev/null || true
    rm -f "$folder/gdb.sock"
    cat "$folder/gdb.rate" 2>/dev/null || echo 0
}

median() { sort -n | awk '{a[NR] = $1} END {print a[int((NR + 1) / 2)]}'; }

for _ in $(seq "$rounds"); do
    bare >>"$folder/bare"
    ours --no-arguments >>"$folder/ours"
    ours >>"$folder/arguments"
done
gdb_rate >>"$folder/gdb"
b=$(median <"$folder/bare") o=$(median <"$folder/ours") a=$(median <"$folder/arguments") g=$(median <"$folder/gdb")
printf '%-46s %10s %8s\n' "hits per second at $function, $hits hits, median" "hits/s" "ratio"
printf '%-46s %10.0f %8s\n' "bare c/s loop, no registers, no memory" "$b" 1.00
printf '%-46s %10.0f %8s\n' "ktrace record, full call path, trace written" "$o" "$(awk "BEGIN {printf \"%.2f\", $o / $b}")"
printf '%-46s %10.0f %8s\n' "the same with all arguments" "$a" "$(awk "BEGIN {printf \"%.2f\", $a / $b}")"
printf '%-46s %10.0f %8s\n' "gdb, commands bt c" "$g" "$(awk "BEGIN {printf \"%.2f\", $g / $b}")"
