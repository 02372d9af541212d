using System.Globalization;
using KTrace.Tracing;
using KTrace.Tui.Views;

namespace KTrace.Tui.Targets;

/// <summary>A line of the timeline out of a hit. Texts that come again and again (paths, tasks) are one object each.</summary>
internal sealed class HitSummarizer(TraceRecord.Header header)
{
    private const int ShownFunctions = 6;
    private const int LongestArguments = 160;

    // Paths and tasks of a hostile trace may all be different.
    private const int MaximumRemembered = 1 << 16;

    private readonly Dictionary<CallPath, string> _paths = [];
    private readonly Dictionary<CallPath, string> _landmarks = [];
    private readonly Dictionary<TraceTask, string> _tasks = [];
    private readonly Dictionary<ArgumentList, string> _arguments = [];
    private double? _ticksPerSecond;

    /// <summary>Takes what a record says about clocks.</summary>
    public void Observe(TraceRecord record)
    {
        if (record is TraceRecord.ClockRate rate)
        {
            _ticksPerSecond = rate.TicksPerSecond;
        }
    }

    public HitSummary Of(TraceRecord.Hit hit, TracepointTable tracepoints, bool canJump = false) => new(
        hit.Sequence, tracepoints.Place(hit.Tracepoint), hit.Cpu, hit.Task is { } task ? Remembered(_tasks, task, static t => t.ToString()) : "", hit.Context?.Flags ?? "",
        Clock(hit.Clock), Remembered(_paths, hit.Path, PathOf), Arguments(hit))
    {
        CanJump = canJump,
        Where = Remembered(_landmarks, hit.Path, static path => CallPathLandmark.Find(path) is { } frame ? FrameText.Name(frame).ToString() : ""),
    };

    private static string Remembered<T>(Dictionary<T, string> texts, T key, Func<T, string> make)
        where T : notnull
    {
        if (!texts.TryGetValue(key, out var text))
        {
            text = make(key);
            if (texts.Count < MaximumRemembered)
            {
                texts.Add(key, text);
            }
        }

        return text;
    }

    private static string PathOf(CallPath path) => string.Join(" < ", path.Frames.Take(ShownFunctions).Select(f => f.Function)) + (path.Frames.Length > ShownFunctions ? " < …" : "");

    private string Arguments(TraceRecord.Hit hit)
    {
        var arguments = hit.ArgumentsOf(0);
        return !hit.Prints.IsDefaultOrEmpty ? Shortened(arguments.Select(ArgumentText.Of).Concat(hit.Prints.Select(ArgumentText.Of)))
            : arguments.Count == 0 ? ""
            : Remembered(_arguments, arguments, static list => Shortened(list.Select(ArgumentText.Of)));
    }

    private static string Shortened(IEnumerable<string> parts)
    {
        var text = string.Join(", ", parts);
        return text.Length <= LongestArguments ? text : text[..LongestArguments] + "…";
    }

    private string Clock(TraceClock? clock) => clock is { Jiffies: null, Nanoseconds: null, Instructions: null, Ticks: { } ticks }
        ? _ticksPerSecond is > 0 and { } rate ? (ticks / rate).ToString("0.000000", CultureInfo.InvariantCulture) : string.Create(CultureInfo.InvariantCulture, $"{ticks} ticks")
        : HitTable.Time(clock, header);
}
