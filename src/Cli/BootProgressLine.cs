using System.Globalization;
using KTrace.Boot;
using KTrace.Tui.Views;

namespace KTrace.Cli;

/// <summary>Long preparations (downloads, unpacking, building) as one line on stderr, with a bar where the total is known.</summary>
internal sealed class BootProgressLine(StatusLine line) : IBootProgress, IDisposable
{
    private const int BarCells = 20;

    private string _phase = "";

    /// <summary>Runs a verb that has long work to do; the line is gone when it ends.</summary>
    public static async Task<int> RunAsync(Func<BootProgressLine, Task<int>> verb)
    {
        using var progress = new BootProgressLine(new StatusLine());
        return await verb(progress);
    }

    public void Report(BootProgress progress)
    {
        var amount = progress.Total is > 0 and { } total
            ? $"{Bar((double)progress.Done / total)} {Bytes(progress.Done)} of {Bytes(total)}  "
            : progress.Done > 0 ? Bytes(progress.Done) + "  " : "";

        // Where no line can be rewritten, every phase is named once and long ones report now and then.
        var isNew = progress.Phase != _phase;
        _phase = progress.Phase;
        line.Show($"{progress.Phase}  {amount}{TerminalText.Sanitize(progress.Message)}", now: isNew);
    }

    /// <summary>Takes the line away before a result is printed.</summary>
    public void EndLine() => line.Dispose();

    public void Dispose() => line.Dispose();

    /// <summary>A size for people: <c>12.3 MB</c>.</summary>
    public static string Bytes(long bytes) => bytes switch
    {
        >= 1_000_000_000 => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e9:0.0} GB"),
        >= 1_000_000 => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e6:0.0} MB"),
        >= 1_000 => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e3:0.0} kB"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{bytes} bytes"),
    };

    private static string Bar(double fraction)
    {
        var full = (int)Math.Clamp(Math.Round(fraction * BarCells), 0, BarCells);
        return "[" + new string('#', full) + new string('.', BarCells - full) + "]";
    }
}
