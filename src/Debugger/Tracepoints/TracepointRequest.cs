using System.Globalization;
using KTrace.Symbols.Lookup;

namespace KTrace.Debugger.Tracepoints;

/// <summary>What a request stands for.</summary>
public enum RequestKind
{
    /// <summary>One function, line or address.</summary>
    Place,

    /// <summary>Functions by a pattern of their names, perhaps of one module or source file.</summary>
    Names,

    /// <summary>Functions by a pattern of their source files.</summary>
    Files,

    /// <summary>A set of <see cref="ReadySets"/>.</summary>
    ReadySet,
}

/// <summary>
/// What a person wrote after <c>-b</c>. First the place: <c>symbol</c>, <c>symbol+0x10</c>, <c>file.c:symbol</c>, <c>module:symbol</c>, <c>file.c:123</c>
/// (a line) or <c>0xaddress</c> (a link-time address, as in System.map); or many functions at once: <c>irq_*</c> (a glob), <c>/^irq_/</c> (a regular expression), <c>module:irq_*</c>,
/// <c>@kernel/irq/*</c> (of source files), <c>@module:e1000e</c> (all of a module), <c>@irq</c> (a ready set); then, maybe, what to do there (<see cref="TracepointActions"/>).
/// </summary>
/// <param name="Text">As written; it names the tracepoint in the trace.</param>
/// <param name="Scope">The source file or module that the symbol must belong to, or null.</param>
/// <param name="Symbol">The symbol, pattern, set (without its @) or line number, or null for an address.</param>
/// <param name="Offset">Bytes past the symbol; the address itself when there is no symbol.</param>
public sealed record TracepointRequest(string Text, string? Scope, string? Symbol, ulong Offset)
{
    private const int MaximumLength = 2048;

    public TracepointActions Actions { get; init; } = TracepointActions.None;

    /// <summary>One place, or the functions of which set.</summary>
    public RequestKind Kind { get; init; }

    /// <summary>It stands for many functions: each is a tracepoint of its own, and all share this request.</summary>
    public bool IsGroup => Kind != RequestKind.Place;

    public bool ScopeIsSourceFile => Scope is not null && Scope.Contains('.') && !Scope.EndsWith(".ko", StringComparison.Ordinal);

    /// <summary>Throws <see cref="TargetException"/> with the remedy when the text cannot be a tracepoint.</summary>
    public static TracepointRequest Parse(string text)
    {
        var trimmed = text.Trim();
        if (trimmed.Length is 0 or > MaximumLength || trimmed.Any(char.IsControl))
        {
            throw new TargetException("a tracepoint is a symbol, file.c:symbol, module:symbol, symbol+0xoffset, 0xaddress, a pattern such as 'irq_*' or a set such as @irq", "for example: -b request_threaded_irq");
        }

        if (trimmed.IndexOf(' ') is var space and >= 0)
        {
            return ParsePlace(trimmed[..space]) with { Text = trimmed, Actions = TracepointActions.Parse(trimmed, space) };
        }

        return ParsePlace(trimmed);
    }

    private static TracepointRequest ParsePlace(string trimmed)
    {
        if (trimmed[0] == '@')
        {
            return ParseSet(trimmed);
        }

        // A regular expression keeps its colons and plus signs: /…/ or module:/…/.
        if (trimmed.EndsWith('/') && trimmed.IndexOf('/') is var slash && slash < trimmed.Length - 2 && (slash == 0 || trimmed[slash - 1] == ':'))
        {
            return new TracepointRequest(trimmed, slash > 1 ? trimmed[..(slash - 1)] : null, trimmed[slash..], 0) { Kind = RequestKind.Names };
        }

        if (TryParseNumber(trimmed, out var address))
        {
            return new TracepointRequest(trimmed, null, null, address);
        }

        string? scope = null;
        var symbol = trimmed;
        if (trimmed.LastIndexOf(':') is var colon and >= 0)
        {
            scope = trimmed[..colon];
            symbol = trimmed[(colon + 1)..];
        }

        ulong offset = 0;
        if (symbol.IndexOf('+') is var plus and >= 0)
        {
            if (!TryParseNumber(symbol[(plus + 1)..], out offset))
            {
                throw new TargetException($"'{trimmed}': the offset after + is a number such as 0x10", null);
            }

            symbol = symbol[..plus];
        }

        if (symbol.Length == 0 || scope?.Length == 0)
        {
            throw new TargetException($"'{trimmed}' names no symbol", "for example: -b kernel/irq/manage.c:request_threaded_irq");
        }

        return new TracepointRequest(trimmed, scope, symbol, offset) { Kind = NamePattern.IsPattern(symbol) ? RequestKind.Names : RequestKind.Place };
    }

    /// <summary>What begins with an @: a file has a dot, a slash or a star in its name, a ready set has not.</summary>
    private static TracepointRequest ParseSet(string trimmed)
    {
        const string ModulePrefix = "@module:";
        var name = trimmed[1..];
        if (trimmed.StartsWith(ModulePrefix, StringComparison.Ordinal) || name is "module")
        {
            var module = trimmed.Length > ModulePrefix.Length ? trimmed[ModulePrefix.Length..] : "";
            return module.Length > 0 && module.All(c => char.IsAsciiLetterOrDigit(c) || c is '_' or '-' or '.')
                ? new TracepointRequest(trimmed, module, "*", 0) { Kind = RequestKind.Names }
                : throw new TargetException($"'{trimmed}' names no module", "for example: -b @module:e1000e");
        }

        if (name.Length == 0)
        {
            throw new TargetException("'@' names no set", $"a set is one of {string.Join(", ", ReadySets.All.Select(s => "@" + s.Name))}, or source files such as '@kernel/irq/*'");
        }

        return new TracepointRequest(trimmed, null, name, 0) { Kind = name.AsSpan().ContainsAny("/.*?") ? RequestKind.Files : RequestKind.ReadySet };
    }

    private static bool TryParseNumber(string text, out ulong value) =>
        text.StartsWith("0x", StringComparison.OrdinalIgnoreCase)
            ? ulong.TryParse(text.AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out value)
            : ulong.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out value);
}
