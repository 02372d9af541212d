using System.Collections.Immutable;
using KTrace.Debugger.Sessions;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Kernel;
using KTrace.Tracing;
using KTrace.Tui.Commands;

namespace KTrace.Tui.Targets;

/// <summary>Words that may stand at the cursor of the command line: commands, functions of the kernel and its modules, variables of the frame, members, registers.</summary>
internal sealed class LiveCompletion(DebugSession session)
{
    private const int Maximum = 200;

    private static readonly ImmutableArray<string> s_topics =
        ["args", "breakpoints", "cpus", "frame", "ioapic", "irq", "lapic", "locals", "modules", "phase", "pic", "registers", "source", "symbol"];

    private static readonly ImmutableArray<string> s_places = ["break", "tbreak", "hbreak", "thbreak", "trace", "until", "advance", "disassemble", "list"];
    private static readonly ImmutableArray<string> s_expressions = ["print", "x", "watch", "rwatch", "awatch", "set", "condition", "ptype"];

    // Sorted by ordinal: all with a prefix stand together. Made once, at the first question; a hundred thousand names take some tens of milliseconds.
    private string[]? _functions;
    private string[]? _variables;

    private (TraceRecord.Hit? Hit, int Frame) _localsOf;
    private ImmutableArray<string> _locals = [];

    /// <param name="hit">The call path at this stop, or null.</param>
    public async ValueTask<TargetNews.Completions> CompleteAsync(string text, int cursor, TraceRecord.Hit? hit, int frame, CancellationToken cancellationToken)
    {
        cursor = Math.Clamp(cursor, 0, text.Length);
        var before = text[..cursor];
        var command = before.TrimStart();
        var end = command.IndexOfAny([' ', '/']);
        if (end < 0)
        {
            return new TargetNews.Completions(text, cursor, cursor - command.Length, [.. CommandTable.All.Select(c => c.Name).Where(n => n.StartsWith(command, StringComparison.Ordinal)).Order(StringComparer.Ordinal)]);
        }

        var start = cursor;
        while (start > 0 && (char.IsLetterOrDigit(text[start - 1]) || text[start - 1] is '_' or '.' or '$'
            || (text[start - 1] == '>' && start > 1 && text[start - 2] == '-') || (text[start - 1] == '-' && start < cursor && text[start] == '>') || text[start - 1] is '[' or ']'))
        {
            start--;
        }

        var word = text[start..cursor];
        var name = CommandTable.Find(command[..end], out _)?.Name ?? "";
        if (name == "info" || name == "help")
        {
            var topics = name == "info" ? s_topics : [.. CommandTable.All.Select(c => c.Name).Order(StringComparer.Ordinal)];
            return new TargetNews.Completions(text, cursor, start, [.. topics.Where(t => t.StartsWith(word, StringComparison.Ordinal))]);
        }

        var isCondition = s_places.Contains(name) && before.Contains(" if ", StringComparison.Ordinal);
        if (s_places.Contains(name) && !isCondition)
        {
            return new TargetNews.Completions(text, cursor, start, Place(word));
        }

        if (!s_expressions.Contains(name) && !isCondition)
        {
            return new TargetNews.Completions(text, cursor, start, []);
        }

        return await MemberAsync(text, cursor, start, word, frame, cancellationToken)
            ?? new TargetNews.Completions(text, cursor, start, [.. Named(word, hit, frame, await LocalsAsync(hit, frame, cancellationToken)).Concat(word.Length > 0 ? WithPrefix(_variables ??= Names(ElfSymbol.TypeObject), word) : []).Distinct().Take(Maximum)]);
    }

    private static IEnumerable<string> WithPrefix(string[] sorted, string prefix)
    {
        var at = Array.BinarySearch(sorted, prefix, StringComparer.Ordinal);
        for (var i = at < 0 ? ~at : at; i < sorted.Length && sorted[i].StartsWith(prefix, StringComparison.Ordinal); i++)
        {
            yield return sorted[i];
        }
    }

    private ImmutableArray<string> Place(string word) => word.Length == 0 ? []
        : [.. WithPrefix(_functions ??= Names(ElfSymbol.TypeFunction), word)
            .Concat((session.Map?.Modules ?? []).SelectMany(m => OfModule(m).Where(n => n.StartsWith(word, StringComparison.Ordinal))))
            .Distinct().Order(StringComparer.Ordinal).Take(Maximum)];

    private static IEnumerable<string> OfModule(KernelModule module) =>
        module.Symbols?.All.Where(s => s.Type == ElfSymbol.TypeFunction && s.Name.Length > 0).Select(s => s.Name) ?? [];

    private string[] Names(byte type)
    {
        string[] names = [.. session.Image.Symbols.All.Where(s => s.Type == type && s.Name.Length > 0 && !s.Name.StartsWith("__pfx_", StringComparison.Ordinal)).Select(s => s.Name).Distinct()];
        Array.Sort(names, StringComparer.Ordinal);
        return names;
    }

    /// <summary>Registers, and what the frame knows.</summary>
    private IEnumerable<string> Named(string word, TraceRecord.Hit? hit, int frame, ImmutableArray<string> locals)
    {
        IEnumerable<string> names = word.StartsWith('$')
            ? session.Machine.Client.Layout.Registers.Where(r => r.BitSize <= 64).Select(r => "$" + r.Name).Append("$pc").Append("$sp").Append("$cpu").Append("$ret")
            : [.. hit?.ArgumentsOf(frame).Select(a => a.Name) ?? [], .. locals, "current"];
        return names.Where(n => n.Length > 0 && n.StartsWith(word, StringComparison.Ordinal)).Distinct().Order(StringComparer.Ordinal);
    }

    /// <summary>Locals of a frame: looked up once while it is the chosen one, Tab is pressed more than once.</summary>
    private async ValueTask<ImmutableArray<string>> LocalsAsync(TraceRecord.Hit? hit, int frame, CancellationToken cancellationToken)
    {
        if (hit is null || (uint)frame >= (uint)hit.Path.Frames.Length)
        {
            return [];
        }

        if (!ReferenceEquals(_localsOf.Hit, hit) || _localsOf.Frame != frame)
        {
            try
            {
                _locals = [.. (await session.LocalsAsync(frame, cancellationToken)).Select(l => l.Name)];
            }
            catch (Exception e) when (Failures.Of(e) is not null)
            {
                // A frame that has no code of its own (a tail call's) has no locals.
                _locals = [];
            }

            _localsOf = (hit, frame);
        }

        return _locals;
    }

    /// <summary>Behind <c>.</c> and <c>-></c> the members of what stands before; null: it does not end so, or has none.</summary>
    private async ValueTask<TargetNews.Completions?> MemberAsync(string text, int cursor, int start, string word, int frame, CancellationToken cancellationToken)
    {
        var arrow = word.LastIndexOf("->", StringComparison.Ordinal);
        var dot = word.LastIndexOf('.');
        if (Math.Max(arrow, dot) <= 0 || session.Map is null)
        {
            return null;
        }

        var (parent, at) = arrow > dot ? (word[..arrow], arrow + 2) : (word[..dot], dot + 1);
        try
        {
            var opened = await session.OpenAsync(parent, frame, cancellationToken: cancellationToken);
            return new TargetNews.Completions(text, cursor, start + at, [.. opened.Members.Select(m => m.Name).Where(n => n.StartsWith(word[at..], StringComparison.Ordinal)).Take(Maximum)]);
        }
        catch (Exception e) when (Failures.Of(e) is not null)
        {
            return null;
        }
    }
}
