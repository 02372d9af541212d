using System.Collections.Immutable;
using KTrace.Debugger;
using KTrace.Tracing;
using KTrace.Tracing.Interrupts;
using KTrace.Tui.Commands;
using KTrace.Tui.Views;

namespace KTrace.Tui.Targets;

/// <summary>The commands of gdb's that a trace can answer: call path, frames, arguments, registers, interrupts.</summary>
internal sealed class TraceCommands(string path, TraceRecord.Header header, NewsQueue news)
{
    private static readonly ImmutableArray<string> s_commands = ["backtrace", "down", "frame", "help", "info", "print", "up"];
    private static readonly ImmutableArray<string> s_topics = ["args", "breakpoints", "frame", "ioapic", "irq", "lapic", "pic", "registers"];

    /// <returns>The frame that the command chooses; null: it chooses none.</returns>
    /// <exception cref="CommandSyntaxException">No command.</exception>
    /// <exception cref="TargetException">It needs a machine, or was not recorded.</exception>
    public int? Run(string line, TraceRecord.Hit? hit, int frame, TracepointTable tracepoints, Func<TraceRecord.Interrupts> interrupts)
    {
        switch (CommandParser.Parse(line))
        {
            case DebuggerCommand.Nothing:
                return null;
            case DebuggerCommand.Help { Topic: var topic }:
                Answer(line, new CommandHelpView(topic));
                return null;
            case DebuggerCommand.Backtrace:
                Answer(line, new CallPathView(Needed(hit), header, tracepoints));
                return null;
            case DebuggerCommand.Frame { Index: var index, IsRelative: var isRelative }:
                return isRelative ? frame + index!.Value : index ?? frame;
            case DebuggerCommand.Print { Expression: var expression }:
                Answer(line, [new TextLine().Add(Recorded(Needed(hit), frame, expression), TextRole.Value)]);
                return null;
            case DebuggerCommand.Info { Topic: "irq" or "irqs" or "lapic" or "ioapic" or "pic" } info:
                var taken = new InterruptsQuery(path, header, interrupts(), null);
                Answer(line, info.Topic switch { "lapic" => new LocalApicView(taken), "ioapic" => new IoApicView(taken), "pic" => new PicView(taken), _ => new IrqTable(taken) });
                return null;
            case DebuggerCommand.Info { Topic: "args" }:
                Answer(line, Needed(hit).ArgumentsOf(frame).Select(a => new TextLine().Add($"{ArgumentText.Name(a)} = {ArgumentText.Value(a)}", TextRole.Value).Add("  " + a.Provenance, TextRole.Source))
                    .DefaultIfEmpty(new TextLine().Add("no arguments were recorded")));
                return null;
            case DebuggerCommand.Info { Topic: "registers" }:
                Answer(line, Needed(hit).Registers.Select(r => new TextLine().Add(r.Name, TextRole.Number).PadTo(12).Add(TraceHex.Format(r.Value), TextRole.Value))
                    .DefaultIfEmpty(new TextLine().Add("no registers were recorded")));
                return null;
            case DebuggerCommand.Info { Topic: "breakpoints" }:
                Answer(line, tracepoints.All.Select(t => new TextLine().Add($"{t.Id}", TextRole.Number).PadTo(5).Add(t.Requested, TextRole.Function).Add(t.Symbol is null ? "" : $"  {t.Symbol}", TextRole.Source)));
                return null;
            case DebuggerCommand.Info { Topic: "frame" or "source" }:
                Answer(line, SessionStopView.FrameLine(frame, Needed(hit).Path.Frames[frame], hit!.ArgumentsOf(frame), null));
                return null;
            default:
                throw TraceTarget.NoMachine(path);
        }
    }

    /// <summary>Commands and topics that a trace answers.</summary>
    public TargetNews.Completions Complete(string text, int cursor)
    {
        cursor = Math.Clamp(cursor, 0, text.Length);
        var start = text.LastIndexOf(' ', Math.Max(cursor - 1, 0)) + 1;
        start = Math.Min(start, cursor);
        var word = text[start..cursor];
        var words = text[..start].Trim() switch { "" => s_commands, "i" or "info" => s_topics, _ => [] };
        return new TargetNews.Completions(text, cursor, start, [.. words.Where(w => w.StartsWith(word, StringComparison.Ordinal))]);
    }

    private static TraceRecord.Hit Needed(TraceRecord.Hit? hit) => hit is { Path.Frames.Length: > 0 } shown ? shown
        : throw new TargetException("no hit with a call path is shown", "choose one in the list of hits");

    private static string Recorded(TraceRecord.Hit hit, int frame, string expression) =>
        hit.Prints.FirstOrDefault(p => p.Expression == expression) is { } print ? ArgumentText.Of(print)
        : hit.ArgumentsOf(frame).FirstOrDefault(a => a.Name == expression) is { } argument ? $"{ArgumentText.Name(argument)} = {ArgumentText.Value(argument)}"
        : hit.Registers.Where(r => "$" + r.Name == expression).Select(r => $"{expression} = {TraceHex.Format(r.Value)}").FirstOrDefault()
            ?? throw new TargetException($"{expression} was not recorded at this hit", "ktrace record -b 'PLACE print EXPR' records it");

    private void Answer(string line, View view) => Answer(line, view.Lines(null));

    private void Answer(string line, IEnumerable<TextLine> lines) => news.Send(new TargetNews.Output(line, [.. lines]));
}
