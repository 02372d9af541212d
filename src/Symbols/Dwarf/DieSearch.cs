// Finding DIEs by bytes that their attributes must contain. .debug_info of a kernel is 174 MB and has no index (.debug_names and .gdb_index are not written), but
// comparing memory runs at gigabytes a second: so the bytes are looked for first, unit by unit, and only where they stand the DIEs are walked to see whose they are.
using System.Runtime.CompilerServices;

namespace KTrace.Symbols.Dwarf;

/// <summary>A DIE that was found.</summary>
/// <param name="Entry">The DIE, bytes from the start of .debug_info.</param>
/// <param name="Parent">The DIE that it is a child of; -1 at the top level of its unit.</param>
internal readonly record struct FoundDie(Unit Unit, int Entry, ushort Tag, int Parent);

/// <summary>Takes a DIE that was found; true ends the search. The unit serves for the call only.</summary>
internal delegate bool FoundDieVisitor(in FoundDie die);

/// <summary>Finds DIEs by bytes. Not thread-safe, apart from its sections.</summary>
internal sealed class DieSearch
{
    // A unit's bytes are read once, in order: give pages back now and then.
    private const int ReleaseEvery = 8 << 20;

    // Deeper than C nests; what is deeper in a hostile file is not looked at.
    private const int MaximumDepth = 256;

    // The four bytes of a name's offset stand in a unit a few times by chance.
    private const int MaximumHits = 1 << 16;

    private readonly DwarfSections _sections;
    private readonly UnitIndex _units;
    private readonly GrowingNumbers _hits = new(64);
    private readonly int[] _parents = new int[MaximumDepth];

    public DieSearch(DwarfSections sections, UnitIndex units)
    {
        _sections = sections;
        _units = units;
    }

    /// <summary>
    /// Visits the DIEs in whose attributes one of the patterns stands, in the file's order. They may stand there by chance: the visitor looks at what it gets.
    /// Damage costs the unit that has it. True when the visitor ended the search.
    /// </summary>
    /// <param name="patterns">Bytes; none of them empty.</param>
    /// <param name="insideFunctions">Local variables, blocks and inlined calls too.</param>
    /// <param name="visit">Gets each DIE once for each pattern.</param>
    /// <param name="isWhole">Units of which every DIE is visited, whatever its bytes (their strings are numbers); null for none.</param>
    /// <param name="numbers">Many 4-byte numbers that will do as well as the patterns; sorted. Null for none.</param>
    public bool Find(byte[][] patterns, bool insideFunctions, FoundDieVisitor visit, Func<int, bool>? isWhole = null, int[]? numbers = null)
    {
        var filter = numbers is null ? null : FilterOf(numbers);
        var info = _sections.Info;
        var offsets = _units.UnitOffsets;
        var unit = new Unit(_sections, new UnitFinder(_sections, _units).Find) { ReadsTypeUnits = true };
        var released = 0;
        for (var i = 0; i < offsets.Length; i++)
        {
            var start = offsets[i];
            var end = i + 1 < offsets.Length ? offsets[i + 1] : info.Length;
            var whole = isWhole is not null && isWhole(start);
            if (whole || Collect(info, start, end, patterns, numbers, filter))
            {
                // So many hits that some were left out: a hostile file's, or a number that is everywhere.
                whole |= _hits.Count >= MaximumHits;
                try
                {
                    unit.Load(start);
                    if (unit.HasChildren && Walk(unit, whole, insideFunctions, visit))
                    {
                        info.Release(released, end - released);
                        return true;
                    }
                }
                catch (MalformedFileException)
                {
                    // Costs this unit.
                }
            }

            if (end - released > ReleaseEvery)
            {
                info.Release(released, end - released);
                released = end;
            }
        }

        info.Release(released, info.Length - released);
        return false;
    }

    private bool Collect(SectionData info, int start, int end, byte[][] patterns, int[]? numbers, ulong[]? filter)
    {
        _hits.Clear();
        var span = info.Span[start..end];
        foreach (var pattern in patterns)
        {
            for (var at = 0; _hits.Count < MaximumHits;)
            {
                var found = span[at..].IndexOf(pattern);
                if (found < 0)
                {
                    break;
                }

                _hits.Add(start + at + found);
                at += found + 1;
            }
        }

        if (numbers is not null && filter is not null)
        {
            CollectNumbers(span, start, numbers, filter);
        }

        if (_hits.Count > 1 && (patterns.Length > 1 || numbers is not null))
        {
            _hits.Sort();
        }

        return _hits.Count > 0;
    }

    /// <summary>One bit for each value of a number's lower half: most places are ruled out by it.</summary>
    private static ulong[] FilterOf(int[] numbers)
    {
        var filter = new ulong[1024];
        foreach (var number in numbers)
        {
            filter[(ushort)number >> 6] |= 1UL << (number & 63);
        }

        return filter;
    }

    private unsafe void CollectNumbers(ReadOnlySpan<byte> span, int start, int[] numbers, ulong[] filter)
    {
        fixed (byte* bytes = span)
        fixed (ulong* bits = filter)
        {
            for (var at = 0; at <= span.Length - 4 && _hits.Count < MaximumHits; at++)
            {
                var low = Unsafe.ReadUnaligned<ushort>(bytes + at);
                if ((bits[low >> 6] >> (low & 63) & 1) != 0 && Array.BinarySearch(numbers, Unsafe.ReadUnaligned<int>(bytes + at)) >= 0)
                {
                    _hits.Add(start + at);
                }
            }
        }
    }

    private unsafe bool Walk(Unit unit, bool whole, bool insideFunctions, FoundDieVisitor visit)
    {
        fixed (byte* bytes = _sections.Info.Span)
        {
            var reader = new DieReader(unit, bytes, unit.FirstChild);
            var depth = 0;
            _parents[0] = -1;
            for (var next = 0; depth >= 0 && !reader.AtEnd;)
            {
                if (!reader.ReadEntry())
                {
                    depth--;
                    continue;
                }

                while (!whole && next < _hits.Count && _hits[next] < reader.EntryOffset)
                {
                    next++;
                }

                if (!whole && next >= _hits.Count)
                {
                    return false;
                }

                var (entry, tag, hasChildren) = (reader.EntryOffset, reader.Entry.Tag, reader.Entry.HasChildren);
                var isEntered = hasChildren && depth + 1 < MaximumDepth && (insideFunctions || !IsCode(tag));
                if (!whole)
                {
                    var behind = reader;
                    behind.SkipTree();
                    if (_hits[next] >= behind.Position)
                    {
                        reader = behind;
                        continue;
                    }
                }

                if (isEntered || !hasChildren)
                {
                    reader.SkipAttributes();
                }
                else
                {
                    reader.SkipTree();
                }

                // With all its children where they are not entered: the visitor tells them apart.
                if ((whole || _hits[next] < reader.Position) && visit(new FoundDie(unit, entry, tag, _parents[depth])))
                {
                    return true;
                }

                if (isEntered)
                {
                    _parents[++depth] = entry;
                }
            }
        }

        return false;
    }

    private static bool IsCode(ushort tag) => tag is DwTag.Subprogram or DwTag.LexicalBlock or DwTag.InlinedSubroutine;
}
