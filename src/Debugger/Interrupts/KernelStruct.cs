using System.Buffers.Binary;
using KTrace.Symbols.Types;

namespace KTrace.Debugger.Interrupts;

/// <summary>A structure of the kernel as bytes: members by name, null for those that this kernel has not.</summary>
/// <param name="layouts">The kernel's types.</param>
/// <param name="name">Without "struct".</param>
internal sealed class KernelStruct(IStructLayouts layouts, string name)
{
    // None that is read whole here is larger; a file that says so is broken.
    private const int MaximumSize = 16 << 10;

    private readonly Dictionary<string, MemberLocation?> _members = new(StringComparer.Ordinal);

    /// <summary>Bytes; 0 when the kernel has no such structure.</summary>
    public int Size { get; } = layouts.TryGetSize(name, out var size) && size <= MaximumSize ? size : 0;

    public bool IsKnown => Size > 0;

    /// <summary>Where a member lies (<c>irq_data.hwirq</c>), or null.</summary>
    public MemberLocation? Find(string member)
    {
        if (!_members.TryGetValue(member, out var location))
        {
            _members[member] = location = layouts.TryFindMember(name, member, out var found) ? found : null;
        }

        return location;
    }

    /// <summary>The address of a member of a structure in guest memory; null when there is none.</summary>
    public ulong? AddressOf(ulong structure, string member) => Find(member) is { } at ? structure + (ulong)at.ByteOffset : null;

    /// <summary>A number or pointer of up to 8 bytes; null when there is no such member, or no bytes.</summary>
    /// <param name="start">Where in the bytes the structure begins.</param>
    public ulong? Number(byte[]? bytes, string member, int start = 0)
    {
        if (bytes is null || Find(member) is not { Size: > 0 and <= 8 } at || start < 0 || start + at.ByteOffset + at.Size > bytes.Length)
        {
            return null;
        }

        Span<byte> number = stackalloc byte[8];
        number.Clear();
        bytes.AsSpan(start + at.ByteOffset, at.Size).CopyTo(number);
        var value = BinaryPrimitives.ReadUInt64LittleEndian(number);
        return at.IsBitField ? (value >> at.BitOffset) & (at.BitSize >= 64 ? ulong.MaxValue : (1UL << at.BitSize) - 1) : value;
    }
}
