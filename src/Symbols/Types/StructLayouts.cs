using System.Collections.Concurrent;
using System.Globalization;

namespace KTrace.Symbols.Types;

/// <summary>Where members lie in structures, by name, out of one type graph. Answers are remembered. Thread-safe.</summary>
public sealed class StructLayouts : IStructLayouts
{
    // Nesting in real kernels stays below 10; a structure that contains itself must end.
    private const int MaximumDepth = 64;
    private const int MaximumSteps = 100_000;

    private readonly Func<TypeTag, string, CType?> _findType;
    private readonly ConcurrentDictionary<(string, string), MemberLocation?> _members = new();
    private readonly ConcurrentDictionary<string, StructType?> _structures = new(StringComparer.Ordinal);

    public StructLayouts(ITypeSource types)
        : this(types.FindType)
    {
    }

    /// <param name="findType">Finds a type by its name.</param>
    public StructLayouts(Func<TypeTag, string, CType?> findType) => _findType = findType;

    public bool TryFindMember(string structName, string memberPath, out MemberLocation location)
    {
        if (!_members.TryGetValue((structName, memberPath), out var found))
        {
            found = Find(structName) is { } type && TryFind(type, memberPath, out var member) ? member : null;
            _members[(structName, memberPath)] = found;
        }

        location = found ?? default;
        return found is not null;
    }

    public bool TryGetSize(string structName, out int size)
    {
        var type = Find(structName);
        size = type is null ? 0 : Clamp(type.Size);
        return type is not null;
    }

    /// <summary>As <see cref="IStructLayouts.TryFindMember"/>, from a type on.</summary>
    public static bool TryFind(CType type, string memberPath, out MemberLocation location)
    {
        location = default;
        long bits = 0;
        foreach (var part in memberPath.Split('.'))
        {
            var bracket = part.IndexOf('[', StringComparison.Ordinal);
            var steps = 0;
            if (type.Resolved is not StructType composite || !TryFindIn(composite, bracket < 0 ? part : part[..bracket], 0, ref steps, out var member, out var offset))
            {
                return false;
            }

            bits += offset;
            type = member.Type;
            location = Locate(bits, type, member.BitSize);
            if (bracket >= 0)
            {
                if (!TryElements(part.AsSpan(bracket), ref type, ref bits))
                {
                    return false;
                }

                location = Locate(bits, type, 0);
            }
        }

        return true;
    }

    private StructType? Find(string name) => _structures.GetOrAdd(
        name,
        wanted => (_findType(TypeTag.Struct, wanted) ?? _findType(TypeTag.Union, wanted) ?? _findType(TypeTag.Ordinary, wanted))?.Resolved is StructType { IsIncomplete: false } found
            ? found
            : null);

    private static bool TryFindIn(StructType type, string name, int depth, ref int steps, out Member found, out long bits)
    {
        (found, bits) = (null!, 0);
        if (depth > MaximumDepth)
        {
            return false;
        }

        foreach (var member in type.Members)
        {
            if (++steps > MaximumSteps)
            {
                return false;
            }

            if (member.Name.Length > 0)
            {
                if (member.Name == name)
                {
                    (found, bits) = (member, member.BitOffset);
                    return true;
                }
            }
            else if (member.Type.Resolved is StructType inner && TryFindIn(inner, name, depth + 1, ref steps, out found, out bits))
            {
                bits += member.BitOffset;
                return true;
            }
        }

        return false;
    }

    /// <summary>Takes "[2][0]" off an array type.</summary>
    private static bool TryElements(ReadOnlySpan<char> indexes, ref CType type, ref long bits)
    {
        while (!indexes.IsEmpty)
        {
            var close = indexes.IndexOf(']');
            if (indexes[0] != '[' || close < 0 || type.Resolved is not ArrayType array
                || !uint.TryParse(indexes[1..close], NumberStyles.None, CultureInfo.InvariantCulture, out var index)
                || (index >= array.Count && array.Count != 0))
            {
                return false;
            }

            bits += 8L * index * Clamp(array.Element.Size);
            type = array.Element;
            indexes = indexes[(close + 1)..];
        }

        return true;
    }

    private static MemberLocation Locate(long bits, CType type, int bitSize)
    {
        if (bitSize != 0)
        {
            var inByte = (int)(bits % 8);
            return new MemberLocation(Clamp(bits / 8), (inByte + bitSize + 7) / 8, inByte, bitSize, 0);
        }

        return new MemberLocation(Clamp(bits / 8), Clamp(type.Size), 0, 0, type.Resolved is ArrayType array ? Clamp(array.Element.Size) : 0);
    }

    private static int Clamp(long value) => (int)Math.Clamp(value, 0, int.MaxValue);
}
