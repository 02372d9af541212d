// Places in an object's code that the kernel itself rewrites, or asks about by their address: what stands there must stay where it is. The tables, as arch/x86 has them in 5.10 to 6.12:
//   .altinstructions, __jump_table, __ex_table           Symbols/Recovery/PatchSites.cs reads them
//   .parainstructions   struct paravirt_patch_site { u8 *instr; u8 type, len; }, to 6.7 (arch/x86/include/asm/paravirt_types.h)
//   .smp_locks, .retpoline_sites, .return_sites, .call_sites   one relative word each (asm/alternative.h, objtool/check.c)
//   .static_call_sites  struct static_call_site { s32 addr, key; } (include/linux/static_call_types.h)
//   __bug_table         struct bug_entry: a relative word first on x86-64, an absolute one on i386 (include/asm-generic/bug.h)
//   __mcount_loc        addresses of the function tracer's no-ops
//   _kprobe_blacklist   addresses of functions in which kprobes must not be (include/asm-generic/kprobes.h)
// In a module each is a section; in vmlinux some lie inside others, between two symbols. Prefix locks, alternatives and thunks are patched once, while the kernel boots or a module
// loads; static keys and static calls at any time.
using System.Buffers.Binary;
using KTrace.Symbols;
using KTrace.Symbols.Recovery;

namespace KTrace.Debugger.NonStop.Relocation;

/// <summary>What may not be moved, byte by byte, with the reason.</summary>
internal sealed class PatchedPlaces
{
    private const int JumpLabelLength = 5, CallLength = 5, LongestThunkCall = 7;

    private readonly CodeObject _code;
    private readonly List<(ulong Start, int Length, string Reason)> _places = [];
    private readonly HashSet<ulong> _noProbes = [];

    public PatchedPlaces(CodeObject code)
    {
        _code = code;
        _places.AddRange(code.Sites.Alternatives.Select(a => (a.Key, a.Value.Max(v => v.Length), "an alternative (.altinstructions) is patched into it")));
        _places.AddRange(code.Sites.JumpLabels.Keys.Select(a => (a, JumpLabelLength, "a static key (__jump_table) is patched into it")));
        _places.AddRange(code.Sites.Fixups.Keys.Select(a => (a, 1, "an instruction in it may fault (__ex_table)")));
        AddRelative(".smp_locks", "__smp_locks", "__smp_locks_end", 4, 1, "a lock prefix (.smp_locks) is patched in it");
        AddRelative(".retpoline_sites", "__retpoline_sites", "__retpoline_sites_end", 4, LongestThunkCall, "a retpoline (.retpoline_sites) is patched in it");
        AddRelative(".return_sites", "__return_sites", "__return_sites_end", 4, CallLength, "a return thunk (.return_sites) is patched in it");
        AddRelative(".call_sites", "__call_sites", "__call_sites_end", 4, CallLength, "a call (.call_sites) is patched in it");
        AddRelative(".static_call_sites", "__start_static_call_sites", "__stop_static_call_sites", 8, CallLength, "a static call (.static_call_sites) is patched in it");
        AddRelative("__bug_table", "__start___bug_table", "__stop___bug_table", 12, 2, "a BUG or WARN (__bug_table) stands in it");
        AddPointers(".parainstructions", "__parainstructions", "__parainstructions_end", 2, LongestThunkCall, "a paravirtual call (.parainstructions) is patched in it");
        AddPointers("__mcount_loc", "__start_mcount_loc", "__stop_mcount_loc", 1, CallLength, "the function tracer's no-op stands in it");
        AddPointers("_kprobe_blacklist", "__start_kprobe_blacklist", "__stop_kprobe_blacklist", 1, 0, null);
        _places.Sort((a, b) => a.Start.CompareTo(b.Start));
    }

    /// <summary>A table could not be understood: nothing of this object may be moved.</summary>
    public bool IsComplete => _code.Sites.IsComplete;

    /// <summary>Whether the kernel forbids probes in the function (NOKPROBE_SYMBOL).</summary>
    public bool ForbidsProbes(ulong entry) => _noProbes.Contains(entry);

    /// <summary>Why bytes may not be moved, or null.</summary>
    public string? ReasonIn(ulong start, ulong end)
    {
        // No place is longer than an alternative, whose length is one byte.
        var (low, high) = (0, _places.Count);
        while (low < high)
        {
            var middle = (low + high) / 2;
            (low, high) = _places[middle].Start + byte.MaxValue < start ? (middle + 1, high) : (low, middle);
        }

        for (; low < _places.Count && _places[low].Start < end; low++)
        {
            if (_places[low].Start + (ulong)_places[low].Length > start)
            {
                return _places[low].Reason;
            }
        }

        return null;
    }

    private void AddRelative(string section, string first, string end, int stride, int length, string reason)
    {
        var (table, address) = Table(section, first, end);
        for (var at = 0; at + stride <= table.Length; at += stride)
        {
            var word = BinaryPrimitives.ReadInt32LittleEndian(table.Span[at..]);
            var place = Wrap(address + (ulong)at + (ulong)(long)word);
            if (!_code.IsCode(place) && _code.Architecture.WordSize == 4 && _code.IsCode((uint)word))
            {
                place = (uint)word;
            }

            _places.Add((place, length, reason));
        }
    }

    /// <param name="words">Bytes of an entry, in words; what follows the pointer is not needed.</param>
    private void AddPointers(string section, string first, string end, int words, int length, string? reason)
    {
        var word = _code.Architecture.WordSize;
        var (table, _) = Table(section, first, end);
        for (var at = 0; at + word <= table.Length; at += words * word)
        {
            var bytes = table.Span[at..];
            var place = word == 8 ? BinaryPrimitives.ReadUInt64LittleEndian(bytes) : BinaryPrimitives.ReadUInt32LittleEndian(bytes);
            if (reason is null)
            {
                _noProbes.Add(place);
            }
            else
            {
                _places.Add((place, length, reason));
            }
        }
    }

    private (ReadOnlyMemory<byte> Bytes, ulong Address) Table(string name, string first, string end)
    {
        foreach (var section in _code.Symbols.Sections)
        {
            if (section.Name == name && section is { IsAllocated: true, HasContents: true })
            {
                return (_code.ContentsOf(section).Span.ToArray(), _code.Symbols.AddressOf(section));
            }
        }

        if (_code.Symbols.Find(first) is not [var start, ..] || _code.Symbols.Find(end) is not [var stop, ..] || stop.Symbol.Value <= start.Symbol.Value
            || !_code.Symbols.TryFindSection(start.Symbol.Value, out var holder, out var holderAddress) || !holder.HasContents)
        {
            return default;
        }

        var data = _code.ContentsOf(holder).Span;
        var (offset, length) = (start.Symbol.Value - holderAddress, stop.Symbol.Value - start.Symbol.Value);
        return offset + length <= (ulong)data.Length ? (data.Slice((int)offset, (int)length).ToArray(), start.Symbol.Value) : default;
    }

    private ulong Wrap(ulong address) => _code.Architecture.WordSize == 4 ? (uint)address : address;
}
