using System.Collections.Immutable;
using KTrace.Symbols.Elf;

namespace KTrace.Symbols.Lookup;

/// <summary>
/// Finds functions of one object (the kernel, or a module) by any name that a person has for them. Functions of one name are told apart by where they are
/// written; a function that is written once and compiled many times (static in a header, copied, inlined) is one function with many places.
/// </summary>
public sealed class FunctionLookup(Symbolizer symbolizer, Func<string, string>? shortPath = null)
{
    /// <summary>More inline instances than this are not counted.</summary>
    private const int MaximumInstances = 1 << 17;

    private readonly Func<string, string> _shortPath = shortPath ?? (path => path);

    /// <summary>
    /// The functions of a name: their own code, the copies that the compiler made (not <c>.cold</c> pieces, which are jumped to and not entered) and every
    /// place at which they were inlined. Empty when there is none.
    /// </summary>
    /// <param name="name">As in the source; or a clone's symbol, which means that clone alone; Rust: readable or mangled.</param>
    /// <param name="file">Only those written in, or compiled from, this file: <c>chip.c</c>, <c>irq/chip.c</c>. Null for all.</param>
    /// <param name="withInlined">False leaves out inline instances, the search for which passes through all of .debug_info (some 50 ms in a kernel).</param>
    public IReadOnlyList<FunctionMatch> Find(string name, string? file = null, bool withInlined = true)
    {
        var groups = new List<Group>();
        foreach (var match in CodeSymbols(name))
        {
            AddSymbol(match, name, file, groups);
        }

        foreach (var instance in withInlined && symbolizer.HasDwarf ? InlineInstances.Find(symbolizer, name, MaximumInstances) : [])
        {
            var written = instance.Declaration is { } declaration ? declaration with { File = Normal(declaration.File) } : null;
            string?[] files = [written?.File, instance.CompiledFile is null ? null : Normal(instance.CompiledFile)];
            if (file is null || files.Any(f => f is not null && SourceFileName.Matches(f, file)))
            {
                var place = new CodePlace(
                    instance.Address, CodePlaceKind.Inline, name, symbolizer.Symbols.TryFindNearest(instance.Address, out ElfSymbol around) ? around.Name : "", files[1] ?? files[0]);
                GroupOf(groups, written, place.File, name).Add(place, written?.File);
            }
        }

        return [.. groups.Select(g => g.ToMatch(groups))];
    }

    /// <summary>Names of functions, by the source, that match; each once, sorted.</summary>
    public IReadOnlyList<string> Names(NamePattern pattern)
    {
        var names = new SortedSet<string>(StringComparer.Ordinal);
        var symbols = symbolizer.Symbols;
        for (var i = 1; i < symbols.Count; i++)
        {
            var raw = symbols.At(i);
            if (raw.Type is not (ElfSymbol.TypeFunction or ElfSymbol.TypeNone) || !symbols.IsCandidate(in raw) || !symbols.Sections[raw.Section].IsExecutable)
            {
                continue;
            }

            var bytes = symbols.NameBytes(raw.NameOffset);
            if (RustName.MayBe(bytes) && RustName.TryDemangle(symbols.NameOf(raw.NameOffset), out var readable))
            {
                if (pattern.IsMatch(readable))
                {
                    names.Add(readable);
                }

                continue;
            }

            var source = bytes[..CloneName.SourceLength(bytes)];
            if (pattern.IsMatch(source) && CloneName.Parse(symbols.NameOf(raw.NameOffset)) is { IsEntry: true } name)
            {
                names.Add(name.Source);
            }
        }

        return [.. names];
    }

    /// <summary>Where a line of a source file begins: see <see cref="LineMatch"/>. One match for each file that the name means and that has code there.</summary>
    public IReadOnlyList<LineMatch> FindLine(string file, int line) =>
        symbolizer.HasDwarf ? [.. LineLookup.Find(symbolizer, file, line).Select(m => m with { File = Normal(m.File) })] : [];

    /// <summary>Up to <paramref name="count"/> functions with a name like a misspelt one, the most alike first.</summary>
    public IReadOnlyList<string> Suggest(string name, int count = 5) =>
        [.. symbolizer.Symbols.Suggest(name, count * 3).Select(n => CloneName.Parse(n).Source).Distinct()
            .Where(n => symbolizer.Symbols.FindWithClones(n).Any(m => IsCode(m.Symbol))).Select(RustName.Demangle).Take(count)];

    /// <summary>True for a symbol that stands for code. gcc's local labels and data are no places to stop at; assembly functions are often NOTYPE.</summary>
    public bool IsCode(ElfSymbol symbol) =>
        symbol.Type is ElfSymbol.TypeFunction or ElfSymbol.TypeNone
        && symbol.SectionIndex > 0 && symbol.SectionIndex < symbolizer.Symbols.Sections.Length && symbolizer.Symbols.Sections[symbol.SectionIndex].IsExecutable;

    private IEnumerable<SymbolMatch> CodeSymbols(string name)
    {
        var matches = symbolizer.Symbols.FindWithClones(name).Where(m => IsCode(m.Symbol));
        if (name.Contains("::", StringComparison.Ordinal))
        {
            matches = matches.Concat(symbolizer.Symbols.All.Where(s => RustName.MayBe(System.Text.Encoding.UTF8.GetBytes(s.Name)) && IsCode(s) && IsRust(s.Name, name))
                .Select(s => new SymbolMatch(s, null)));
        }

        return matches.DistinctBy(m => m.Symbol.Value);
    }

    private static bool IsRust(string symbol, string wanted) =>
        RustName.TryDemangle(symbol, out var readable) && (readable == wanted || readable.EndsWith("::" + wanted, StringComparison.Ordinal));

    private void AddSymbol(SymbolMatch match, string asked, string? file, List<Group> groups)
    {
        var name = CloneName.Parse(match.Symbol.Name);
        var isSelf = match.Symbol.Name == asked;
        if (!isSelf && !name.IsEntry)
        {
            return;
        }

        var function = symbolizer.FindFunctionAt(match.Symbol.Value);
        var written = function?.Declaration is { } declaration ? declaration with { File = Normal(declaration.File) } : null;
        var compiled = symbolizer.CompiledFileAt(match.Symbol.Value) is { } unit ? Normal(unit) : match.SourceFile;
        var line = written is null ? symbolizer.Symbolize(match.Symbol.Value)[^1].Source?.File : null;
        string?[] files = [written?.File, compiled, match.SourceFile, line is null ? null : Normal(line)];
        if (file is not null && !files.Any(f => f is not null && SourceFileName.Matches(f, file)))
        {
            return;
        }

        var readable = RustName.TryDemangle(match.Symbol.Name, out var rust) ? rust : isSelf ? match.Symbol.Name : name.Source;
        var kind = isSelf || !name.IsClone ? CodePlaceKind.Entry : CodePlaceKind.Clone;
        // A static function of a header is told apart by the file that was compiled, others by the one they are written in.
        var place = new CodePlace(match.Symbol.Value, kind, readable, match.Symbol.Name, compiled ?? files.FirstOrDefault(f => f is not null));
        // Without DWARF two local symbols of one name are two functions.
        GroupOf(groups, written, written is null ? $"{match.SourceFile}@{(name.IsClone ? 0 : match.Symbol.Value):x}" : place.File, readable).Add(place, written?.File);
    }

    private static Group GroupOf(List<Group> groups, SourceLine? written, string? otherwise, string name)
    {
        var key = written is null ? "?" + otherwise : $"{written.File}:{written.Line}";
        var group = groups.Find(g => g.Key == key);
        if (group is null)
        {
            groups.Add(group = new Group(key, name, written));
        }

        return group;
    }

    private string Normal(string path)
    {
        path = _shortPath(path);
        return path.StartsWith("./", StringComparison.Ordinal) ? path[2..] : path;
    }

    private sealed class Group(string key, string name, SourceLine? written)
    {
        private readonly SortedDictionary<ulong, CodePlace> _places = [];

        public string Key => key;

        private string? Written { get; set; }

        public void Add(CodePlace place, string? file)
        {
            Written ??= file;
            // An inline instance may begin where the function around it is entered; the entry says more.
            if (!_places.TryGetValue(place.Address, out var known) || place.Kind < known.Kind)
            {
                _places[place.Address] = place;
            }
        }

        /// <summary>The file that tells it apart from all others, if one does: where it is written, or what was compiled.</summary>
        public FunctionMatch ToMatch(List<Group> all)
        {
            string?[] candidates = [_places.Count == 1 ? _places.Values.First().File : null, Written, _places.Values.First().File];
            var file = candidates.FirstOrDefault(c => c is not null && all.Count(g => g.Written == c || g._places.Values.Any(p => p.File == c)) == 1)
                ?? candidates.FirstOrDefault(c => c is not null);
            return new FunctionMatch(name, written, file, [.. _places.Values]);
        }
    }
}
