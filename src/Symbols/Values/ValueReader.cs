using System.Collections.Immutable;
using KTrace.Symbols.Types;
using KTrace.Symbols.Unwind;

namespace KTrace.Symbols.Values;

internal enum ReadState
{
    Ok,

    /// <summary>Not fetched; the range was noted.</summary>
    Missing,
    Unreadable,

    /// <summary>It would take more bytes than one value may cost.</summary>
    TooMuch,

    /// <summary>It is in no memory, and its bytes are not known.</summary>
    Unknown,
}

/// <summary>Reads values, members and text of one guest within a budget of bytes, and notes what was not fetched. For one evaluation or one print.</summary>
internal sealed class ValueReader(IValueScope scope, int budget)
{
    private const int PageSize = 4096;
    private const int TextPiece = 32;

    private readonly List<MemoryRange> _missing = [];
    private int _left = budget;

    public IValueScope Scope => scope;

    public bool HasMissing => _missing.Count > 0;

    public int MissingCount => _missing.Count;

    /// <summary>What to fetch, sorted, without overlaps; neighbours are joined.</summary>
    public ImmutableArray<MemoryRange> Missing()
    {
        const int Gap = 64;
        _missing.Sort((a, b) => a.Address.CompareTo(b.Address));
        var ranges = ImmutableArray.CreateBuilder<MemoryRange>();
        foreach (var range in _missing)
        {
            if (ranges.Count > 0 && range.Address - ranges[^1].Address <= (ulong)(ranges[^1].Length + Gap))
            {
                var last = ranges[^1];
                var end = (int)Math.Max((ulong)last.Length, range.Address - last.Address + (ulong)range.Length);

                // Never over a page's end for the sake of a gap: the next page may not be there.
                if (range.Address - last.Address <= (ulong)last.Length || (last.Address / PageSize == range.Address / PageSize))
                {
                    ranges[^1] = last with { Length = end };
                    continue;
                }
            }

            ranges.Add(range);
        }

        return ranges.ToImmutable();
    }

    public ulong Truncate(ulong address) => scope.Architecture.WordSize == 4 ? (uint)address : address;

    public ReadState Read(ulong address, Span<byte> destination)
    {
        if (destination.Length > _left)
        {
            return ReadState.TooMuch;
        }

        _left -= destination.Length;
        switch (scope.Memory.Read(address, destination))
        {
            case MemoryReadResult.Ok:
                return ReadState.Ok;
            case MemoryReadResult.NotFetched:
                _missing.Add(new MemoryRange(address, destination.Length));
                return ReadState.Missing;
            default:
                return ReadState.Unreadable;
        }
    }

    /// <summary>Bytes that the value takes where it lies.</summary>
    public static long ByteCount(TypedValue value) =>
        value.BitSize != 0 ? (Math.Clamp(value.BitOffset, 0, 7) + Math.Clamp(value.BitSize, 0, 64) + 7) / 8 : value.Type.Size;

    /// <summary>The value with its bytes.</summary>
    public ReadState Load(TypedValue value, out TypedValue loaded)
    {
        loaded = value;
        var size = ByteCount(value);
        if (value.Bytes.Length >= size && size > 0)
        {
            return ReadState.Ok;
        }

        if (value.Address is not { } address)
        {
            return value.Bytes.IsEmpty ? ReadState.Unknown : ReadState.Ok;
        }

        if (size > _left || size < 0)
        {
            return ReadState.TooMuch;
        }

        var bytes = new byte[size];
        var state = Read(address, bytes);
        if (state == ReadState.Ok)
        {
            loaded = value with { Bytes = bytes };
        }

        return state;
    }

    /// <summary>The structure's complete type, where only its name is known in the object file that the value comes from.</summary>
    public StructType? StructureOf(CType type)
    {
        if (type.Resolved is not StructType structure)
        {
            return null;
        }

        return structure.IsIncomplete && structure.Name.Length > 0
            && scope.Types.FindType(structure.Kind == StructKind.Union ? TypeTag.Union : TypeTag.Struct, structure.Name)?.Resolved is StructType complete
            ? complete
            : structure;
    }

    /// <summary>A member by name, through anonymous structures and unions; its offset counts from the outermost structure.</summary>
    public static Member? FindMember(StructType structure, string name)
    {
        var left = 20_000;
        return Find(structure, name, 0, 0, ref left);

        static Member? Find(StructType structure, string name, long bits, int depth, ref int left)
        {
            const int MaximumDepth = 16;
            foreach (var member in structure.Members)
            {
                if (--left < 0)
                {
                    return null;
                }

                if (member.Name == name && name.Length > 0)
                {
                    return member with { BitOffset = bits + member.BitOffset };
                }

                if (member.Name.Length == 0 && depth < MaximumDepth && member.Type.Resolved is StructType inner
                    && Find(inner, name, bits + member.BitOffset, depth + 1, ref left) is { } found)
                {
                    return found;
                }
            }

            return null;
        }
    }

    /// <summary>A member of a structure that is in memory, or whose bytes are known.</summary>
    public TypedValue MemberOf(TypedValue structure, Member member)
    {
        var value = new TypedValue
        {
            Type = member.Type,
            Address = structure.Address is { } address ? Truncate(address + (ulong)member.Offset) : null,
            BitOffset = member.IsBitField ? (int)(member.BitOffset & 7) : 0,
            BitSize = Math.Clamp(member.BitSize, 0, 64),
            Provenance = structure.Provenance,
        };
        return value with { Bytes = Slice(structure.Bytes, member.Offset, ByteCount(value)) };
    }

    /// <summary>An element of an array that is in memory, or whose bytes are known.</summary>
    /// <param name="wordSize">Bytes of an address.</param>
    public static TypedValue ElementOf(TypedValue array, CType element, long index, int wordSize) => new()
    {
        Type = element,
        Address = array.Address is { } start ? unchecked(start + (ulong)(index * element.Size)) & (wordSize == 4 ? uint.MaxValue : ulong.MaxValue) : null,
        Bytes = Slice(array.Bytes, index is >= 0 and < int.MaxValue && element.Size < int.MaxValue ? index * element.Size : -1, element.Size),
        Provenance = array.Provenance,
    };

    /// <summary>The member at the end of a path (<c>irq_data.chip</c>) that goes through structures, not through pointers. Null when there is none of that name.</summary>
    public TypedValue? MemberAt(TypedValue structure, string path)
    {
        var value = structure;
        foreach (var name in path.Split('.'))
        {
            if (StructureOf(value.Type) is not { } type || FindMember(type, name) is not { } member)
            {
                return null;
            }

            value = MemberOf(value, member);
        }

        return value;
    }

    /// <summary>What a pointer points to. Null for NULL, for error pointers, and while the pointer itself is not known.</summary>
    public TypedValue? Dereference(TypedValue pointer) =>
        pointer.Type.Resolved is PointerType { Target: var target } && Number(pointer) is { } number and not 0 && !ErrorNumbers.IsError(number, scope.Architecture.WordSize)
            ? new TypedValue { Type = target, Address = Truncate((ulong)number), Provenance = Provenance.Memory }
            : null;

    /// <summary>A number or pointer's number; null when it is none, or could not be read.</summary>
    public long? Number(TypedValue value) =>
        value.Type.Resolved is IntegerType or EnumType or PointerType && Load(value, out var loaded) == ReadState.Ok ? loaded.Number : null;

    public static ReadOnlyMemory<byte> Slice(ReadOnlyMemory<byte> bytes, long offset, long length) =>
        offset >= 0 && length > 0 && offset <= bytes.Length && length <= bytes.Length - offset ? bytes.Slice((int)offset, (int)length) : default;

    /// <summary>Bytes up to a NUL (without it), at most <paramref name="limit"/> of them. A part may come with every state but Ok.</summary>
    public (ReadState State, byte[] Bytes, bool IsCut) ReadText(ulong address, int limit)
    {
        var text = new List<byte>();
        Span<byte> piece = stackalloc byte[TextPiece];
        while (text.Count < limit)
        {
            var at = Truncate(address + (ulong)text.Count);
            var toPageEnd = (int)(PageSize - (at % PageSize));
            var length = Math.Min(Math.Min(TextPiece, limit - text.Count), toPageEnd);
            if (length > _left)
            {
                return (ReadState.TooMuch, [.. text], true);
            }

            _left -= length;
            switch (scope.Memory.Read(at, piece[..length]))
            {
                case MemoryReadResult.NotFetched:
                    // Whoever fetches shall not come again for every piece.
                    _missing.Add(new MemoryRange(at, Math.Min(limit - text.Count, toPageEnd)));
                    return (ReadState.Missing, [.. text], true);
                case MemoryReadResult.Unreadable:
                    return (ReadState.Unreadable, [.. text], true);
            }

            var end = piece[..length].IndexOf((byte)0);
            text.AddRange(piece[..(end < 0 ? length : end)]);
            if (end >= 0)
            {
                return (ReadState.Ok, [.. text], false);
            }
        }

        return (ReadState.Ok, [.. text], true);
    }
}
