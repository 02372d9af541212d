// Where a machine's RAM lies, from QEMU's own monitor: `info mtree -f` (system/memory.c, mtree_print_flatview, 2.9 and later) prints for each address space the
// ranges as they are in force, overlaps resolved:
//
//   FlatView #2
//    AS "cpu-memory-0", root: memory
//    Root memory region: memory
//     0000000000000000-000000000009ffff (prio 0, ram): pc.ram
//     00000000000a0000-00000000000bffff (prio 1, i/o): vga-lowmem
//     0000000000100000-000000007fffffff (prio 0, ram): pc.ram @0000000000100000
//     0000000100000000-00000001ffffffff (prio 0, ram): pc.ram @0000000080000000 KVM
//
// Only what is "ram" and of the one backend that was mapped counts; rom, i/o and other memory devices are the stub's. q35 and pc split RAM below 4 GiB at
// different places, which is not computed here but read. What lies between 640 KiB and 1 MiB is left out whatever it is now: VGA, option ROMs, and RAM that the
// chipset's PAM registers show or hide at any time.
using System.Collections.Immutable;
using System.Globalization;
using System.Text.RegularExpressions;

namespace KTrace.Debugger.Memory;

/// <summary>A range of guest-physical addresses and its place in the RAM's file. All in bytes.</summary>
/// <param name="End">Exclusive.</param>
public readonly record struct RamRange(ulong Start, ulong End, ulong FileOffset);

/// <summary>Reads QEMU's memory map.</summary>
internal static partial class RamLayout
{
    // A machine has a handful of ranges, a few more with hot-plugged memory and chipset windows.
    private const int MaximumRanges = 256;
    private const ulong ShadowStart = 0xa0000, ShadowEnd = 0x100000;

    /// <summary>The ranges of one backend, ascending; empty when the text tells of none, or of too many.</summary>
    /// <param name="mtree">What <c>info mtree -f</c> printed.</param>
    /// <param name="backend">The backend's name, such as pc.ram.</param>
    /// <param name="fileSize">Ranges that reach beyond it are not believed.</param>
    public static ImmutableArray<RamRange> Parse(string mtree, string backend, ulong fileSize)
    {
        var ranges = new List<RamRange>();
        foreach (Match match in RangeLine().Matches(ViewOfFirstCpu(mtree)))
        {
            if (match.Groups["name"].Value != backend)
            {
                continue;
            }

            var (start, last) = (Number(match.Groups["start"]), Number(match.Groups["last"]));
            var offset = match.Groups["offset"].Success ? Number(match.Groups["offset"]) : 0;
            if (last < start || last == ulong.MaxValue || offset > fileSize || last - start >= fileSize - offset)
            {
                return [];
            }

            AddAround(ranges, new RamRange(start, last + 1, offset));
            if (ranges.Count > MaximumRanges)
            {
                return [];
            }
        }

        return [.. ranges.OrderBy(range => range.Start)];
    }

    /// <summary>All of the range but what lies in the shadow window.</summary>
    private static void AddAround(List<RamRange> ranges, RamRange range)
    {
        if (range.Start < ShadowStart)
        {
            ranges.Add(range with { End = Math.Min(range.End, ShadowStart) });
        }

        if (range.End > ShadowEnd)
        {
            var start = Math.Max(range.Start, ShadowEnd);
            ranges.Add(new RamRange(start, range.End, range.FileOffset + (start - range.Start)));
        }
    }

    /// <summary>The lines of the first CPU's view outside system management mode; address spaces with equal contents share a view.</summary>
    private static string ViewOfFirstCpu(string mtree)
    {
        var views = mtree.Split("FlatView #");
        return views.FirstOrDefault(view => view.Contains("AS \"cpu-memory-0\"", StringComparison.Ordinal))
            ?? views.FirstOrDefault(view => view.Contains("AS \"memory\"", StringComparison.Ordinal)) ?? "";
    }

    private static ulong Number(Group group) => ulong.Parse(group.Value, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);

    [GeneratedRegex(
        @"^ +(?<start>[0-9a-f]{1,16})-(?<last>[0-9a-f]{1,16}) \(prio -?\d+, ram\): (?<name>\S+)(?: @(?<offset>[0-9a-f]{1,16}))?(?: KVM)?\r?$",
        RegexOptions.Multiline)]
    private static partial Regex RangeLine();
}
