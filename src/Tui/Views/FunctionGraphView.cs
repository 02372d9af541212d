using System.Globalization;
using KTrace.Tracing;

namespace KTrace.Tui.Views;

/// <summary>What a function graph shows besides functions and durations.</summary>
/// <param name="Arguments">Each call's own arguments.</param>
public sealed record FunctionGraphOptions(bool Arguments = false);

/// <summary>
/// Calls nested in calls, as the kernel's function_graph tracer prints them: a call in which nothing else was recorded is one line, others are braces around what happened in them. A narrow
/// terminal goes without the numbers of the hits.
/// </summary>
public sealed class FunctionGraphView(FunctionGraph graph, FunctionGraphOptions? options = null) : View
{
    private const int Indent = 2;
    private const int Gap = 2;
    private const int HitWidth = 7;
    private const int CpuWidth = 3;
    private const int DurationWidth = 10;

    // Below it the numbers of hits take room that the functions need.
    private const int WithHits = 72;

    // Calls that are deeper stand no further to the right, so that there is room for their names.
    private const int MaximumDepth = 48;

    private readonly FunctionGraphOptions _options = options ?? new FunctionGraphOptions();

    public override IEnumerable<TextLine> Lines(int? width)
    {
        int start = width is null or >= WithHits ? HitWidth + Gap : 0;
        TextLine heading = new TextLine();
        if (start > 0)
        {
            heading.PadTo(HitWidth - 3).Add("HIT", TextRole.Heading).PadTo(start);
        }

        yield return heading.Add("CPU", TextRole.Heading).PadTo(start + CpuWidth + Gap + DurationWidth - 8).Add("DURATION", TextRole.Heading).Add("  CALLS", TextRole.Heading).Fit(width);
        GraphUnit? unit = null;
        foreach (GraphLine line in graph.Lines())
        {
            yield return Line(line, start, width, ref unit).Fit(width);
        }

        if (unit is { } last && Explain(last) is { } words)
        {
            yield return new TextLine();
            foreach (TextLine line in new TextLine().Wrap(words, TextRole.Reason, width))
            {
                yield return line;
            }
        }
    }

    private TextLine Line(GraphLine line, int start, int? width, ref GraphUnit? unit)
    {
        (TraceRecord.Hit? hit, GraphDuration? duration) = line switch
        {
            GraphLine.Call call => (call.Hit, call.Duration),
            GraphLine.Enter enter => (enter.Hit, null),
            GraphLine.Leave leave => (null, leave.Duration),
            _ => ((TraceRecord.Hit?)null, (GraphDuration?)null),
        };
        unit ??= duration?.Unit;
        var text = new TextLine();
        if (start > 0)
        {
            string number = hit?.Sequence.ToString(CultureInfo.InvariantCulture) ?? "";
            text.PadTo(HitWidth - number.Length).Add(number, TextRole.Number).PadTo(start);
        }

        string cpu = line.Cpu.ToString(CultureInfo.InvariantCulture);
        string time = duration is { } known ? Duration(known) : "";
        text.PadTo(start + CpuWidth - cpu.Length).Add(cpu, TextRole.Number)
            .PadTo(start + CpuWidth + Gap + Math.Max(0, DurationWidth - time.Length)).Add(time, TextRole.Value)
            .PadTo(start + CpuWidth + Gap + DurationWidth + Gap);
        int deepest = width is { } cells ? Math.Clamp((cells - text.Width) / (2 * Indent), 1, MaximumDepth) : MaximumDepth;
        text.PadTo(text.Width + (Indent * Math.Min(line.Depth, deepest)));
        switch (line)
        {
            case GraphLine.Switch change:
                return text.Add(change.From is null ? $"------ {TaskText(change.To)} ------" : $"------ {TaskText(change.From)} => {TaskText(change.To)} ------", TextRole.Reason);
            case GraphLine.Context { To: CodeContext.Task } back:
                return text.Add($"<====== {TraceContext.WordOf(back.From)} ends", TextRole.Warning);
            case GraphLine.Context context:
                return text.Add($"======> {TraceContext.WordOf(context.To)}", TextRole.Warning);
            case GraphLine.Enter enter:
                return Name(text, enter.Hit).Add(" {");
            case GraphLine.Leave leave:
                text.Add("}");
                Result(text, leave.Return);
                // Where it began may be pages above.
                return text.Add($" /* {Function(leave.Hit)} */", TextRole.Inline);
            case GraphLine.Call call:
                Name(text, call.Hit).Add(";");
                Result(text, call.Return);
                return call.IsReturnMissing ? text.Add(" /* no return recorded */", TextRole.Warning) : text;
            default:
                return text;
        }
    }

    private TextLine Name(TextLine text, TraceRecord.Hit hit)
    {
        text.Add(Function(hit), TextRole.Function);
        if (hit.Path.Frames is [{ Module: { } module }, ..])
        {
            text.Add($" [{module}]", TextRole.Module);
        }

        string arguments = _options.Arguments ? string.Join(", ", hit.ArgumentsOf(0).Select(ArgumentText.Of)) : "";
        return text.Add("(").Add(arguments, TextRole.Value).Add(")");
    }

    private string Function(TraceRecord.Hit hit) => hit.Path.Frames is [var frame, ..] ? frame.Function : graph.Tracepoints.Place(hit.Tracepoint);

    private static void Result(TextLine text, TraceRecord.Return? returned)
    {
        foreach (TracePrint print in returned?.Prints ?? [])
        {
            text.Add(" ").Add(print is { Expression: "$ret", Error: null } ? "= " + (print.Text ?? (print.Value is { } value ? TraceHex.Format(value) : "?")) : ArgumentText.Of(print), TextRole.Value);
        }
    }

    private static string TaskText(TraceTask? task) => task is null ? "?" : string.Create(CultureInfo.InvariantCulture, $"{task.Comm}-{task.Pid}");

    /// <summary>As short as it can be read: <c>12.345 us</c>, <c>34.2 M</c>.</summary>
    private string Duration(GraphDuration duration) => duration.Unit switch
    {
        GraphUnit.Nanoseconds => duration.Amount switch
        {
            < 1_000_000 => string.Create(CultureInfo.InvariantCulture, $"{duration.Amount / 1e3:0.000} us"),
            < 1_000_000_000 => string.Create(CultureInfo.InvariantCulture, $"{duration.Amount / 1e6:0.000} ms"),
            _ => string.Create(CultureInfo.InvariantCulture, $"{duration.Amount / 1e9:0.000} s "),
        },
        GraphUnit.Jiffies => graph.Header.JiffiesPerSecond is > 0 and { } hz
            ? string.Create(CultureInfo.InvariantCulture, $"{duration.Amount * 1000.0 / hz:0} ms")
            : string.Create(CultureInfo.InvariantCulture, $"{duration.Amount} j"),
        _ => Short(duration.Amount),
    };

    private static string Short(ulong amount) => amount switch
    {
        < 10_000 => amount.ToString(CultureInfo.InvariantCulture),
        < 10_000_000 => string.Create(CultureInfo.InvariantCulture, $"{amount / 1e3:0.0} k"),
        < 10_000_000_000 => string.Create(CultureInfo.InvariantCulture, $"{amount / 1e6:0.0} M"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{amount / 1e9:0.0} G"),
    };

    private static string? Explain(GraphUnit unit) => unit switch
    {
        GraphUnit.Ticks => "durations are ticks of the CPU's time-stamp counter",
        GraphUnit.Instructions => "durations are instructions",
        GraphUnit.Jiffies => "durations are as exact as the kernel's jiffies",
        _ => null,
    };
}
