using KTrace.Symbols.Dwarf;

namespace KTrace.Symbols.Lookup;

/// <summary>Where a source line begins in code.</summary>
/// <param name="File">The file's path as the line table has it, short form.</param>
/// <param name="Line">The line that has code: the one that was asked for, or the nearest behind it.</param>
/// <param name="IsExact">The line that was asked for has code.</param>
/// <param name="Places">Ascending; one for each function and each inlined call that the line is in.</param>
public sealed record LineMatch(string File, int Line, bool IsExact, IReadOnlyList<CodePlace> Places);

/// <summary>Finds code by source line, through the line tables of all units. Reads all of them at every question: 20 ms to 200 ms in a kernel.</summary>
internal static class LineLookup
{
    private const int ReleaseEvery = 8 << 20;

    /// <summary>One match for each file of that name that has code at or behind the line; empty when none has.</summary>
    /// <param name="file">A file's name, or the end of its path (<c>irq/chip.c</c>).</param>
    /// <param name="line">1-based.</param>
    public static IReadOnlyList<LineMatch> Find(Symbolizer symbolizer, string file, int line)
    {
        var byPath = new SortedDictionary<string, (int Line, List<ulong> Addresses)>(StringComparer.Ordinal);
        var names = new FileNames(symbolizer.Sections, file);
        var sections = symbolizer.Sections;
        var unit = new Unit(sections);
        var header = new LineProgramHeader();
        var rows = new GrowingArray<LineStatement>(256);
        var released = 0;
        foreach (var offset in symbolizer.Units.UnitOffsets)
        {
            try
            {
                unit.Load(offset);
                if (unit.LineOffset >= 0)
                {
                    header.Load(unit);
                    Add(symbolizer, header, names, line, rows, byPath);
                }
            }
            catch (MalformedFileException)
            {
                // Damage costs this unit's lines.
            }

            if (offset - released > ReleaseEvery)
            {
                sections.Info.Release(released, offset - released);
                released = offset;
            }
        }

        return [.. byPath.Select(p => new LineMatch(p.Key, p.Value.Line, p.Value.Line == line, PlacesAt(symbolizer, p.Key, p.Value.Addresses)))];
    }

    private static void Add(
        Symbolizer symbolizer, LineProgramHeader header, FileNames names, int line, GrowingArray<LineStatement> rows,
        SortedDictionary<string, (int Line, List<ulong> Addresses)> byPath)
    {
        if (names.PathsIn(header) is not { } paths)
        {
            return;
        }

        rows.Clear();
        LineStatements.Read(symbolizer.Sections.Line, header, paths.ContainsKey, rows);
        for (var i = 0; i < rows.Count; i++)
        {
            ref var row = ref rows[i];
            var path = paths[row.File];
            var known = byPath.TryGetValue(path, out var best);
            // Discarded sections leave rows at 0, and in a relocatable file everything that was not loaded.
            if (row.Line < line || (known && row.Line > best.Line) || !symbolizer.IsCode(row.Address))
            {
                continue;
            }

            if (!known || row.Line < best.Line)
            {
                byPath[path] = best = (row.Line, []);
            }

            best.Addresses.Add(row.Address);
        }
    }

    /// <summary>A loop comes back to its line, and the compiler moves pieces about: the first address of each function, and of each inlined call, counts.</summary>
    private static List<CodePlace> PlacesAt(Symbolizer symbolizer, string path, List<ulong> addresses)
    {
        addresses.Sort();
        var seen = new HashSet<int>();
        var places = new List<CodePlace>();
        ulong last = 0;
        foreach (var address in addresses)
        {
            var instance = symbolizer.InstanceAt(address);
            if ((places.Count > 0 && address == last) || (instance >= 0 && !seen.Add(instance)))
            {
                continue;
            }

            last = address;
            var innermost = symbolizer.Symbolize(address)[0];
            places.Add(new CodePlace(address, CodePlaceKind.Line, innermost.Function, symbolizer.Symbols.TryFindNearest(address, out Elf.ElfSymbol symbol) ? symbol.Name : innermost.Function, path));
        }

        return places;
    }

    /// <summary>Which files of line tables are meant. Names stand in a shared string section, so each is compared once.</summary>
    private sealed class FileNames(DwarfSections sections, string wanted)
    {
        private readonly byte[] _last = System.Text.Encoding.UTF8.GetBytes(wanted[(wanted.LastIndexOf('/') + 1)..]);
        private readonly Dictionary<StringReference, bool> _known = [];

        /// <summary>File number → path for those that are meant; null when there are none.</summary>
        public Dictionary<int, string>? PathsIn(LineProgramHeader header)
        {
            Dictionary<int, string>? found = null;
            var first = header.Version >= 5 ? 0 : 1;
            for (var i = first; i < header.FileCount + first; i++)
            {
                if (header.TryFindFile(i, shortForm: true, out _, out var name) && IsMeant(name)
                    && header.Path(i, shortForm: true) is var path && SourceFileName.Matches(path, wanted))
                {
                    (found ??= []).Add(i, path);
                }
            }

            if (found is not null && header.TryFindFile(LineProgramHeader.DefaultFile, shortForm: true, out _, out var standard) && IsMeant(standard)
                && header.Path(LineProgramHeader.DefaultFile, shortForm: true) is var standardPath && SourceFileName.Matches(standardPath, wanted))
            {
                found.Add(LineProgramHeader.DefaultFile, standardPath);
            }

            return found;
        }

        private bool IsMeant(StringReference name)
        {
            if (!_known.TryGetValue(name, out var isMeant))
            {
                // The name may have folders in it.
                _known[name] = isMeant = sections.Bytes(name).EndsWith(_last);
            }

            return isMeant;
        }
    }
}
