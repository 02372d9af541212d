// Offsets of structure members: DWARF 5, section 5.7.6. For kernels without .BTF: a unit that uses a structure has its whole layout, so one unit is
// read when the caller names a function that uses it, and only otherwise all of them.
using System.Globalization;
using System.Text;
using KTrace.Symbols.Types;

namespace KTrace.Symbols.Dwarf;

/// <summary>Where members lie in structures, by name. Thread-safe.</summary>
public sealed class StructLayouts : IStructLayouts
{
    private const int MaximumMembers = 4096;
    private const int MaximumDepth = 16;

    // Anonymous structures inside one structure, all levels together.
    private const int MaximumStructures = 1024;
    private const int ReleaseEvery = 8 << 20;

    private readonly Symbolizer _symbolizer;
    private readonly Lock _lock = new();
    private readonly Dictionary<(string Structure, string Member), (int Offset, int Size)?> _known = [];

    public StructLayouts(Symbolizer symbolizer) => _symbolizer = symbolizer;

    /// <summary>
    /// Names of functions whose source files use a structure that KTrace asks for: their unit is read first, which makes the difference between
    /// milliseconds and seconds. Others are found by reading unit after unit.
    /// </summary>
    private static readonly Dictionary<string, string[]> Hints = new(StringComparer.Ordinal)
    {
        ["task_struct"] = ["wake_up_process", "schedule"],
        ["module"] = ["do_init_module", "load_module"],
        ["module_sect_attrs"] = ["mod_sysfs_setup", "do_init_module"],
        ["module_sect_attr"] = ["mod_sysfs_setup", "do_init_module"],
        ["bin_attribute"] = ["mod_sysfs_setup", "do_init_module"],
        ["pcpu_hot"] = ["schedule", "wake_up_process"],
    };

    public bool TryFindMember(string structName, string memberPath, out MemberLocation location)
    {
        var found = TryFindMember(structName, memberPath, HintFor(structName), out var offset, out var size);
        location = new MemberLocation(offset, Math.Max(0, size), 0, 0, 0);
        return found;
    }

    public bool TryGetSize(string structName, out int size) => TryFindMember(structName, "", HintFor(structName), out _, out size) && size >= 0;

    private ulong HintFor(string structName)
    {
        foreach (var function in Hints.GetValueOrDefault(structName) ?? [])
        {
            if (_symbolizer.Symbols.Find(function) is [var match, ..])
            {
                return match.Symbol.Value;
            }
        }

        return 0;
    }

    /// <summary>
    /// Offset and size in bytes of a member (a path such as <c>core_layout.base</c> may be given; members of anonymous structures count as
    /// the structure's own; an empty name asks for the structure's own size). False when no unit defines the structure with that member.
    /// </summary>
    /// <param name="structName">Without <c>struct</c>; the name of a union or typedef'd structure's tag is found as well.</param>
    /// <param name="memberName">The member.</param>
    /// <param name="hintFunctionAddress">An address in a function whose source file uses the structure; 0 when none is known.</param>
    /// <param name="offset">Bytes from the structure's start; for a bit field the byte in which it starts.</param>
    /// <param name="size">Bytes; -1 for a flexible array.</param>
    public bool TryFindMember(string structName, string memberName, ulong hintFunctionAddress, out int offset, out int size)
    {
        lock (_lock)
        {
            if (!_known.TryGetValue((structName, memberName), out var found))
            {
                found = Search(structName, memberName, hintFunctionAddress);
                _known[(structName, memberName)] = found;
            }

            (offset, size) = found ?? (-1, -1);
            return found is not null;
        }
    }

    private (int Offset, int Size)? Search(string structName, string memberName, ulong hint)
    {
        if (!_symbolizer.HasDwarf)
        {
            return null;
        }

        var unit = new Unit(_symbolizer.Sections, new UnitFinder(_symbolizer.Sections, _symbolizer.Units).Find);
        var name = Encoding.UTF8.GetBytes(structName);
        var hinted = hint == 0 ? -1 : _symbolizer.Units.Find(hint);
        if (hinted >= 0 && SearchUnit(unit, hinted, name, memberName) is { } answer)
        {
            return answer;
        }

        var released = 0;
        foreach (var offset in _symbolizer.Units.UnitOffsets)
        {
            if (offset != hinted && SearchUnit(unit, offset, name, memberName) is { } other)
            {
                return other;
            }

            if (offset - released > ReleaseEvery)
            {
                _symbolizer.Sections.Info.Release(released, offset - released);
                released = offset;
            }
        }

        return null;
    }

    private static (int Offset, int Size)? SearchUnit(Unit unit, int offset, ReadOnlySpan<byte> name, string memberName)
    {
        try
        {
            unit.Load(offset);
            var entry = FindStructure(unit, name);
            if (entry < 0 || !DieFacts.TryRead(unit, entry, out var structure))
            {
                return null;
            }

            if (memberName.Length == 0)
            {
                return structure.ByteSize >= 0 ? (0, Clamp(structure.ByteSize)) : null;
            }

            long at = 0;
            var left = MaximumStructures;
            foreach (var step in memberName.Split('.'))
            {
                var bracket = step.IndexOf('[');
                if (!TryFindIn(structure, bracket < 0 ? step : step[..bracket], 0, ref left, out var member, out var memberOffset))
                {
                    return null;
                }

                at += memberOffset;
                if (!TryStrip(member.Unit, member.Type, out structure))
                {
                    return (Clamp(at), -1);
                }

                if (bracket >= 0 && !TryIndex(ref structure, step.AsSpan(bracket), ref at))
                {
                    return null;
                }
            }

            return (Clamp(at), Clamp(SizeOf(in structure, 0)));
        }
        catch (MalformedFileException)
        {
            // Costs this unit's structures.
            return null;
        }
    }

    /// <summary>Goes on from an array to one of its elements: <c>[2]</c>.</summary>
    private static bool TryIndex(ref DieFacts array, ReadOnlySpan<char> index, ref long at)
    {
        if (array.Tag != DwTag.ArrayType || index is not ['[', .. var digits, ']']
            || !int.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out var number)
            || !TryStrip(array.Unit, array.Type, out var element) || SizeOf(in element, 0) is not (>= 0 and var size))
        {
            return false;
        }

        at += size * number;
        array = element;
        return true;
    }

    private static unsafe int FindStructure(Unit unit, ReadOnlySpan<byte> name)
    {
        if (!unit.HasChildren)
        {
            return -1;
        }

        fixed (byte* bytes = unit.Sections.Info.Span)
        {
            var reader = new DieReader(unit, bytes, unit.FirstChild);
            while (!reader.AtEnd && reader.ReadEntry())
            {
                if (reader.Entry.Tag is DwTag.StructureType or DwTag.UnionType or DwTag.ClassType && reader.Entry.HasChildren)
                {
                    var (entry, position) = (reader.EntryOffset, reader.Position);
                    for (var i = 0; i < reader.AttributeCount; i++)
                    {
                        ref readonly var attribute = ref reader.Attribute(i);
                        if (attribute.Name == DwAt.Name)
                        {
                            if (unit.Sections.Bytes(reader.ReadString(in attribute)).SequenceEqual(name))
                            {
                                return entry;
                            }

                            break;
                        }

                        reader.Skip(in attribute);
                    }

                    reader.Position = position;
                }

                reader.SkipTree();
            }
        }

        return -1;
    }

    private static bool TryFindIn(DieFacts structure, string name, int depth, ref int left, out DieFacts member, out long offset)
    {
        member = default;
        offset = 0;
        if (depth > MaximumDepth || --left < 0)
        {
            return false;
        }

        foreach (var child in TypeNames.Children(in structure, DwTag.Member, limit: MaximumMembers))
        {
            var childOffset = Math.Max(0, child.MemberOffset);
            if (!child.Name.IsNone)
            {
                if (child.Unit.Sections.Text(child.Name) == name)
                {
                    (member, offset) = (child, childOffset);
                    return true;
                }
            }
            else if (TryStrip(child.Unit, child.Type, out var inner) && inner.Tag is DwTag.StructureType or DwTag.UnionType
                && TryFindIn(inner, name, depth + 1, ref left, out member, out var innerOffset))
            {
                offset = childOffset + innerOffset;
                return true;
            }
        }

        return false;
    }

    // Through typedefs and qualifiers to what has a layout.
    private static bool TryStrip(Unit unit, long type, out DieFacts facts)
    {
        facts = default;
        for (var depth = 0; depth < MaximumDepth && type >= 0 && DieFacts.TryRead(unit, type, out facts); depth++)
        {
            if (facts.Tag is not (DwTag.Typedef or DwTag.ConstType or DwTag.VolatileType or DwTag.RestrictType or DwTag.AtomicType))
            {
                return true;
            }

            (unit, type) = (facts.Unit, facts.Type);
        }

        return false;
    }

    private static long SizeOf(in DieFacts type, int depth)
    {
        if (type.ByteSize >= 0 || depth > MaximumDepth)
        {
            return type.ByteSize;
        }

        if (type.Tag is DwTag.PointerType or DwTag.ReferenceType)
        {
            return type.Unit.Header.AddressSize;
        }

        if (type.Tag != DwTag.ArrayType || !TryStrip(type.Unit, type.Type, out var element))
        {
            return -1;
        }

        var size = SizeOf(in element, depth + 1);
        foreach (var dimension in TypeNames.Children(in type, DwTag.SubrangeType))
        {
            size = dimension.Count < 0 || size < 0 || (size > 0 && dimension.Count > int.MaxValue / size) ? -1 : size * dimension.Count;
        }

        return size;
    }

    private static int Clamp(long value) => value is < 0 or > int.MaxValue ? -1 : (int)value;
}
