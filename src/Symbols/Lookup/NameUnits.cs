using System.Buffers.Binary;
using KTrace.Symbols.Dwarf;

namespace KTrace.Symbols.Lookup;

/// <summary>
/// Which units mention a name at all. A linker keeps each string once, so the name's place in .debug_str stands as a number in every unit that uses it; looking for
/// that number in 174 MB takes a fraction of the time of reading them.
/// </summary>
internal static class NameUnits
{
    private const int MaximumPlaces = 64;
    private const int MaximumInPlace = 8;
    private const int Chunk = 4 << 20;

    /// <summary>Offsets of units, ascending. It may name some too many, but none too few.</summary>
    public static IReadOnlyList<int> Holding(DwarfSections sections, UnitIndex index, ReadOnlySpan<byte> name)
    {
        var units = new SortedSet<int>();
        if (!sections.StrOffsets.IsEmpty)
        {
            // Units name strings by number (clang's DWARF 5): each has to be asked.
            units.UnionWith(index.UnitOffsets.ToArray());
            return [.. units];
        }

        var terminated = new byte[name.Length + 1];
        name.CopyTo(terminated);
        if (terminated.Length <= MaximumInPlace)
        {
            // GCC writes what is no longer than a reference into .debug_info itself.
            AddReferring(sections, index, terminated, units);
        }

        var places = 0;
        var strings = sections.Str.Span;
        for (var at = 0; strings[at..].IndexOf(terminated) is var next and >= 0 && places < MaximumPlaces;)
        {
            // Linkers let a string share the end of a longer one.
            at += next;
            var reference = new byte[4];
            BinaryPrimitives.WriteInt32LittleEndian(reference, at);
            AddReferring(sections, index, reference, units);
            places++;
            at++;
        }

        return [.. units];
    }

    /// <summary>Adds the units that have these bytes anywhere. What was read leaves our memory at once: the section is larger than all else together.</summary>
    public static void AddReferring(DwarfSections sections, UnitIndex index, ReadOnlySpan<byte> wanted, SortedSet<int> units)
    {
        var info = sections.Info.Span;
        var offsets = index.UnitOffsets;
        var released = 0;
        for (var at = 0; at < info.Length;)
        {
            var end = Math.Min(info.Length, at + Chunk);
            var next = info[at..end].IndexOf(wanted);
            if (next >= 0)
            {
                var unit = index.Holding(at + next);
                units.Add(unit);
                // The rest of that unit says nothing new.
                var following = unit < 0 ? offsets.Length : offsets.BinarySearch(unit) + 1;
                at = Math.Max(at + next + 1, following < offsets.Length ? offsets[following] : info.Length);
            }
            else
            {
                // It may stand across the end of what was searched.
                at = end == info.Length ? end : end - wanted.Length + 1;
            }

            if (at - released >= Chunk)
            {
                sections.Info.Release(released, at - released);
                released = at;
            }
        }

        units.Remove(-1);
        sections.Info.Release(released, info.Length - released);
    }
}
