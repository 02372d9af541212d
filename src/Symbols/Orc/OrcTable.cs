// The kernel's ORC unwind tables: .orc_unwind_ip (one signed 32-bit pc-relative address per entry) and .orc_unwind (struct
// orc_entry). Read as arch/x86/kernel/unwind_orc.c reads them. vmlinux's are sorted by the build since 5.6 (f14bf6a350df);
// older kernels and modules are sorted when loaded, and so here. At equal addresses the section terminator (UNDEFINED) sorts first
// and the real entry wins. In a debug .ko these sections have no bytes: use the shipped .ko.
// Entries of all formats are upgraded one by one when they are looked up, so opening costs one pass over the addresses.
using System.Buffers.Binary;
using System.Collections.Immutable;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Unwind;

namespace KTrace.Symbols.Orc;

/// <summary>The ORC table of one x86-64 object, at the addresses for which its sections were linked or relocated. Thread-safe.</summary>
public sealed class OrcTable : IUnwindRowSource
{
    private readonly SectionData _ips;
    private readonly SectionData _entries;
    private readonly ulong _base;
    private readonly OrcFormat _format;
    private readonly Lazy<uint[]?> _order;

    private OrcTable(SectionData ips, SectionData entries, ulong ipsAddress, OrcFormat format)
    {
        _ips = ips;
        _entries = entries;
        _base = ipsAddress;
        _format = format;
        Count = ips.Length / 4;
        _order = new Lazy<uint[]?>(Sort);
    }

    /// <summary>Number of entries.</summary>
    public int Count { get; }

    public OrcFormat Format => _format;

    /// <summary>.orc_header has a hash that is not known: the format is the one of the kernel's release, and may be wrong.</summary>
    public bool HasUnknownHeader { get; private init; }

    /// <summary>
    /// The ORC table of an object, or null when it has none, or none that can be read: neither a header nor a release that is known. A header of
    /// another hash is taken for the release's format; <see cref="HasUnknownHeader"/> then says so.
    /// </summary>
    /// <param name="release">The kernel's release, for kernels before .orc_header; null when not known.</param>
    public static OrcTable? TryOpen(ISectionSource source, string? release)
    {
        var ips = source.GetSection(".orc_unwind_ip");
        var entries = source.GetSection(".orc_unwind");
        if (ips.IsEmpty || entries.IsEmpty || source.AddressSize != 8)
        {
            return null;
        }

        if (ips.Length % 4 != 0 || entries.Length % OrcEntry.Size != 0 || ips.Length / 4 != entries.Length / OrcEntry.Size)
        {
            throw ips.Malformed(0, $"0x{ips.Length:x} bytes of addresses for 0x{entries.Length:x} bytes of .orc_unwind");
        }

        var header = source.GetSection(".orc_header");
        var known = header.IsEmpty ? null : OrcFormat.FromHeader(header.Span);
        var format = known ?? OrcFormat.FromRelease(release ?? "");
        return format is null ? null : new OrcTable(ips, entries, source.GetSectionAddress(".orc_unwind_ip"), format.Value) { HasUnknownHeader = !header.IsEmpty && known is null };
    }

    /// <summary>The entry that covers the address, or null below the first.</summary>
    public OrcEntry? FindEntry(ulong address)
    {
        int low = 0, high = Count;
        while (low < high)
        {
            var middle = (low + high) >>> 1;
            if (AddressOf(middle) <= address)
            {
                low = middle + 1;
            }
            else
            {
                high = middle;
            }
        }

        return low == 0 ? null : EntryAt(low - 1);
    }

    /// <summary>Where the entry at a sorted position begins to hold.</summary>
    public ulong AddressOf(int position)
    {
        var index = IndexOf(position);
        return RawAddress(index);
    }

    /// <summary>The entry at a sorted position.</summary>
    public OrcEntry EntryAt(int position) => OrcEntry.Read(_entries.Span.Slice(IndexOf(position) * OrcEntry.Size, OrcEntry.Size), _format);

    public UnwindRow? FindRow(ulong address) => FindEntry(address) is { } entry ? ToRow(entry, _format) : null;

    /// <summary>The row that an entry means; null for UNDEFINED and for what no kernel writes.</summary>
    public static UnwindRow? ToRow(OrcEntry entry, OrcFormat format)
    {
        switch (entry.Type)
        {
            case OrcType.EndOfStack:
                return UnwindRow.End(UnwindRule.Orc);
            case OrcType.Call or OrcType.Registers or OrcType.RegistersPartial:
                break;
            default:
                return null;
        }

        CfaRule? cfa = entry.SpRegister switch
        {
            OrcRegister.Sp => new CfaRule(CfaKind.Register, X86_64.Rsp, entry.SpOffset),
            OrcRegister.Bp => new CfaRule(CfaKind.Register, X86_64.Rbp, entry.SpOffset),
            OrcRegister.R10 => new CfaRule(CfaKind.Register, X86_64.R10, entry.SpOffset),
            OrcRegister.R13 => new CfaRule(CfaKind.Register, X86_64.R13, entry.SpOffset),
            OrcRegister.Di => new CfaRule(CfaKind.Register, X86_64.Rdi, entry.SpOffset),
            OrcRegister.Dx => new CfaRule(CfaKind.Register, X86_64.Rdx, entry.SpOffset),
            OrcRegister.BpIndirect => new CfaRule(CfaKind.Dereferenced, X86_64.Rbp, entry.SpOffset),
            OrcRegister.SpIndirect => format.AddsAfterDereference
                ? new CfaRule(CfaKind.Dereferenced, X86_64.Rsp, 0, entry.SpOffset)
                : new CfaRule(CfaKind.Dereferenced, X86_64.Rsp, entry.SpOffset),
            _ => null,
        };
        if (cfa is null)
        {
            return null;
        }

        // unwind_orc.c takes r10, r13, di and dx as they are and ignores the offset.
        if (entry.SpRegister is OrcRegister.R10 or OrcRegister.R13 or OrcRegister.Di or OrcRegister.Dx)
        {
            cfa = cfa.Value with { Offset = 0 };
        }

        if (entry.Type != OrcType.Call)
        {
            var shape = entry.Type == OrcType.Registers ? FrameShape.SavedRegisters : FrameShape.InterruptFrame;
            return new UnwindRow(UnwindRule.Orc, shape, cfa.Value, BpRule(entry), entry.IsSignal, KeepsCalleeSaved: false);
        }

        var saved = BpRule(entry).Add(new SavedRegister(X86_64.Rip, new RegisterRule(RegisterRuleKind.AtCfa, -8)));
        return new UnwindRow(UnwindRule.Orc, FrameShape.Call, cfa.Value, saved, entry.IsSignal, KeepsCalleeSaved: false);
    }

    private static ImmutableArray<SavedRegister> BpRule(OrcEntry entry) => entry.BpRegister switch
    {
        OrcRegister.Undefined => [new SavedRegister(X86_64.Rbp, new RegisterRule(RegisterRuleKind.SameValue))],
        OrcRegister.PreviousSp => [new SavedRegister(X86_64.Rbp, new RegisterRule(RegisterRuleKind.AtCfa, entry.BpOffset))],
        OrcRegister.Bp => [new SavedRegister(X86_64.Rbp, new RegisterRule(RegisterRuleKind.AtSelf, entry.BpOffset))],
        _ => [new SavedRegister(X86_64.Rbp, new RegisterRule(RegisterRuleKind.Undefined))],
    };

    private int IndexOf(int position) => _order.Value is { } order ? (int)order[position] : position;

    private ulong RawAddress(int index) =>
        _base + (ulong)(index * 4L) + (ulong)BinaryPrimitives.ReadInt32LittleEndian(_ips.Span[(index * 4)..]);

    private bool IsTerminator(int index) =>
        OrcEntry.Read(_entries.Span.Slice(index * OrcEntry.Size, OrcEntry.Size), _format).Type == OrcType.Undefined;

    private uint[]? Sort()
    {
        var sorted = true;
        for (var i = 1; i < Count && sorted; i++)
        {
            sorted = RawAddress(i - 1) <= RawAddress(i);
        }

        if (sorted)
        {
            return null;
        }

        // 31 bits of index and one that puts terminators first are below the address in the comparison.
        var keys = new (ulong Address, uint Rank)[Count];
        for (var i = 0; i < Count; i++)
        {
            keys[i] = (RawAddress(i), (IsTerminator(i) ? 0u : 1u << 31) | (uint)i);
        }

        Array.Sort(keys);
        return Array.ConvertAll(keys, k => k.Rank & int.MaxValue);
    }
}
