using System.Globalization;

namespace KTrace.Debugger.Tracepoints;

/// <summary>
/// What a person wrote after <c>-b</c>. First the place: <c>symbol</c>, <c>symbol+0x10</c>, <c>file.c:symbol</c>, <c>module:symbol</c>, <c>file.c:123</c>
/// (a line), <c>irq_*</c> (a glob), <c>/^irq_/</c> (a regular expression) or <c>0xaddress</c> (a link-time address, as in System.map); then, maybe, what to do there
/// (<see cref="TracepointActions"/>).
/// </summary>
/// <param name="Text">As written; it names the tracepoint in the trace.</param>
/// <param name="Scope">The source file or module that the symbol must belong to, or null.</param>
/// <param name="Symbol">The symbol, pattern or line number, or null for an address.</param>
/// <param name="Offset">Bytes past the symbol; the address itself when there is no symbol.</param>
public sealed record TracepointRequest(string Text, string? Scope, string? Symbol, ulong Offset)
{
    private const int MaximumLength = 2048;

    public TracepointActions Actions { get; init; } = TracepointActions.None;

    public bool ScopeIsSourceFile => Scope is not null && Scope.Contains('.') && !Scope.EndsWith(".ko", StringComparison.Ordinal);

    /// <summary>Throws <see cref="TargetException"/> with the remedy when the text cannot be a tracepoint.</summary>
    public static TracepointRequest Parse(string text)
    {
        var trimmed = text.Trim();
        if (trimmed.Length is 0 or > MaximumLength || trimmed.Any(char.IsControl))
        {
            throw new TargetException("a tracepoint is a symbol, file.c:symbol, module:symbol, symbol+0xoffset or 0xaddress", "for example: -b request_threaded_irq");
        }

        if (trimmed.IndexOf(' ') is var space and >= 0)
        {
            return ParsePlace(trimmed[..space]) with { Text = trimmed, Actions = TracepointActions.Parse(trimmed, space) };
        }

        return ParsePlace(trimmed);
    }

    private static TracepointRequest ParsePlace(string trimmed)
    {
        // A regular expression keeps its colons and plus signs: /…/ or module:/…/.
        if (trimmed.EndsWith('/') && trimmed.IndexOf('/') is var slash && slash < trimmed.Length - 2 && (slash == 0 || trimmed[slash - 1] == ':'))
        {
            return new TracepointRequest(trimmed, slash > 1 ? trimmed[..(slash - 1)] : null, trimmed[slash..], 0);
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

        return new TracepointRequest(trimmed, scope, symbol, offset);
    }

    private static bool TryParseNumber(string text, out ulong value) =>
        text.StartsWith("0x", StringComparison.OrdinalIgnoreCase)
            ? ulong.TryParse(text.AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out value)
            : ulong.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out value);
}
