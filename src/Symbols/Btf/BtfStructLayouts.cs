using System.Collections.Concurrent;
using System.Globalization;
using System.Text;
using KTrace.Symbols.Types;

namespace KTrace.Symbols.Btf;

/// <summary>Structure layouts out of BTF. Answers are remembered. Thread-safe. Throws <see cref="MalformedFileException"/> for types that make no sense.</summary>
public sealed class BtfStructLayouts : IStructLayouts
{
    // Nesting in real kernels stays below 10; a cycle in a broken file must end.
    private const int MaximumDepth = 64;
    private const int MaximumSteps = 100_000;

    private readonly BtfFile _file;
    private readonly ConcurrentDictionary<string, int> _structs = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<(string, string), MemberLocation?> _members = new();

    public BtfStructLayouts(BtfFile file) => _file = file;

    public bool TryFindMember(string structName, string memberPath, out MemberLocation location)
    {
        if (!_members.TryGetValue((structName, memberPath), out var found))
        {
            found = TryFindStruct(structName, out var type) ? Walk(type, memberPath) : null;
            _members[(structName, memberPath)] = found;
        }

        location = found ?? default;
        return found is not null;
    }

    public bool TryGetSize(string structName, out int size)
    {
        size = 0;
        if (!TryFindStruct(structName, out var type))
        {
            return false;
        }

        size = type.OwnSize;
        return true;
    }

    private bool TryFindStruct(string name, out BtfType type)
    {
        if (_structs.TryGetValue(name, out var id))
        {
            type = _file.TypeOf(id);
            return id != 0;
        }

        var bytes = Encoding.UTF8.GetBytes(name);
        if (!_file.TryFind(bytes, k => k is BtfKind.Struct or BtfKind.Union, out type)
            && _file.TryFind(bytes, k => k is BtfKind.Typedef, out type))
        {
            type = Resolve(type.Id);
        }

        if (!type.IsComposite)
        {
            type = default;
        }

        _structs[name] = type.Id;
        return type.IsComposite;
    }

    private MemberLocation? Walk(BtfType type, string path)
    {
        long bits = 0;
        MemberLocation location = default;
        foreach (var part in path.Split('.'))
        {
            var bracket = part.IndexOf('[', StringComparison.Ordinal);
            var name = Encoding.UTF8.GetBytes(bracket < 0 ? part : part[..bracket]);
            var steps = 0;
            if (!type.IsComposite || !TryFindIn(type, name, 0, ref steps, out var member, out var offset))
            {
                return null;
            }

            bits += offset;
            type = Resolve(member.TypeId);
            location = Locate(bits, member, type);
            if (bracket >= 0)
            {
                if (!TryElements(part.AsSpan(bracket), ref type, ref bits))
                {
                    return null;
                }

                location = Locate(bits, member with { BitSize = 0 }, type);
            }
        }

        return location;
    }

    /// <summary>Takes "[2][0]" off an array type.</summary>
    private bool TryElements(ReadOnlySpan<char> indexes, ref BtfType type, ref long bits)
    {
        while (!indexes.IsEmpty)
        {
            var close = indexes.IndexOf(']');
            if (indexes[0] != '[' || close < 0 || type.Kind != BtfKind.Array
                || !uint.TryParse(indexes[1..close], NumberStyles.None, CultureInfo.InvariantCulture, out var index))
            {
                return false;
            }

            var (elementId, count) = type.Array;
            if (index >= count && count != 0)
            {
                return false;
            }

            bits += 8L * index * SizeOf(elementId);
            type = Resolve(elementId);
            indexes = indexes[(close + 1)..];
        }

        return true;
    }

    private bool TryFindIn(BtfType type, ReadOnlySpan<byte> name, int depth, ref int steps, out BtfMember found, out long bits)
    {
        found = default;
        bits = 0;
        if (depth > MaximumDepth)
        {
            throw _file.Malformed(0, $"structures nested more than {MaximumDepth} deep at type {type.Id}");
        }

        for (var i = 0; i < type.Count; i++)
        {
            if (++steps > MaximumSteps)
            {
                throw _file.Malformed(0, $"a structure of more than {MaximumSteps} members at type {type.Id}");
            }

            var member = type.Member(i);
            if (member.NameOffset != 0)
            {
                if (_file.StringBytes(member.NameOffset).SequenceEqual(name))
                {
                    (found, bits) = (member, member.BitOffset);
                    return true;
                }
            }
            else if (Resolve(member.TypeId) is { IsComposite: true } inner && TryFindIn(inner, name, depth + 1, ref steps, out found, out bits))
            {
                bits += member.BitOffset;
                return true;
            }
        }

        return false;
    }

    private MemberLocation Locate(long bits, BtfMember member, BtfType type)
    {
        var (bitSize, start) = (member.BitSize, bits);
        if (bitSize == 0 && type.Kind == BtfKind.Int && type.Integer is var integer && integer.Bits != 0 && integer.Bits != type.OwnSize * 8)
        {
            // Before 5.x pahole described bit fields by integer types of odd widths.
            (bitSize, start) = (integer.Bits, bits + integer.BitOffset);
        }

        if (bitSize != 0)
        {
            var inByte = (int)(start % 8);
            return new MemberLocation(Clamp(start / 8), (inByte + bitSize + 7) / 8, inByte, bitSize, 0);
        }

        var elementSize = type.Kind == BtfKind.Array ? Clamp(SizeOf(type.Array.ElementId)) : 0;
        return new MemberLocation(Clamp(bits / 8), Clamp(SizeOf(type, 0)), 0, 0, elementSize);
    }

    private long SizeOf(int id) => SizeOf(Resolve(id), 0);

    private long SizeOf(BtfType type, int depth)
    {
        switch (type.Kind)
        {
            case BtfKind.Int or BtfKind.Struct or BtfKind.Union or BtfKind.Enum or BtfKind.Enum64 or BtfKind.Float or BtfKind.DataSection:
                return type.OwnSize;
            case BtfKind.Pointer:
                return PointerSize;
            case BtfKind.Array when depth < MaximumDepth:
                var (elementId, count) = type.Array;
                // Products of hostile counts saturate; no real array comes near.
                return Math.Min(count * Math.Min(SizeOf(Resolve(elementId), depth + 1), int.MaxValue), int.MaxValue);
            default:
                return 0;
        }
    }

    /// <summary>Bytes of a pointer: BTF does not say, so "long unsigned int" or "long int" does (as libbpf has it).</summary>
    private int PointerSize => _pointerSize ??= FindPointerSize();

    private int? _pointerSize;

    private int FindPointerSize() =>
        _file.TryFind("long unsigned int"u8, k => k == BtfKind.Int, out var type) || _file.TryFind("long int"u8, k => k == BtfKind.Int, out type)
            ? type.OwnSize
            : 8;

    /// <summary>The type behind typedefs, qualifiers and tags.</summary>
    private BtfType Resolve(int id)
    {
        for (var i = 0; i < MaximumDepth; i++)
        {
            var type = _file.TypeOf(id);
            if (type.Kind is not (BtfKind.Typedef or BtfKind.Volatile or BtfKind.Const or BtfKind.Restrict or BtfKind.TypeTag))
            {
                return type;
            }

            id = type.ReferredId;
        }

        throw _file.Malformed(0, $"a chain of more than {MaximumDepth} typedefs and qualifiers at type {id}");
    }

    private static int Clamp(long value) => (int)Math.Clamp(value, 0, int.MaxValue);
}
