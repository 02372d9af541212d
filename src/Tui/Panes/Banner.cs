using System.Globalization;
using KTrace.Tui.State;
using KTrace.Tui.Views;

namespace KTrace.Tui.Panes;

/// <summary>The first row: what is debugged, where it stands and why.</summary>
internal static class Banner
{
    private const string Frames = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏";
    private const string AsciiFrames = "|/-\\";

    public static TextLine Line(UiState state)
    {
        var width = state.Size.Columns;
        var session = state.Session;
        var layout = Layouts.Of(state);
        var right = string.Create(CultureInfo.InvariantCulture, $"{layout.Number} {layout.Name}{(state.IsZoomed ? ", zoomed" : "")} ");
        var line = new TextLine().Add(" ", TextRole.Banner).Add(state.Abilities.Title, TextRole.Banner);
        if ((session.Kernel ?? state.Abilities.Header?.Kernel.Release) is { } kernel && width >= 100)
        {
            line.Add("  " + (kernel.StartsWith("Linux", StringComparison.Ordinal) ? "" : "Linux ") + kernel, TextRole.Banner);
            if (session.Slide != 0 && width >= 160)
            {
                line.Add($" +0x{session.Slide:x}", TextRole.Banner);
            }
        }

        line.Add("  ", TextRole.Banner).Add(Standing(state), TextRole.Banner);
        if (session is { Run: RunState.Stopped, Stop: { } stop })
        {
            line.Add(stop.Path is not null || stop.Cpus.Length > 1 ? string.Create(CultureInfo.InvariantCulture, $"  cpu {stop.Cpu}") : "", TextRole.Banner)
                .Add(width >= 100 && stop.Phase.Length > 0 ? "  " + stop.Phase : "", TextRole.Banner);
        }

        var room = Math.Max(1, width - right.Length - 1);
        line = line.Fit(room);
        line.Add(new string(' ', Math.Max(0, room - line.Width)), TextRole.Banner);
        return width > right.Length + 20 ? line.Add(" ", TextRole.Banner).Add(right, TextRole.Banner) : line;
    }

    /// <summary><c>⠋ running</c>, <c>● breakpoint 1, start_kernel</c>, <c>■ ended: guest powered off</c>.</summary>
    private static string Standing(UiState state)
    {
        var session = state.Session;
        var frames = state.Looks.IsUnicode ? Frames : AsciiFrames;
        var spinner = frames[(int)(state.Ticks % frames.Length)];
        return session switch
        {
            { Progress: { } progress } =>
                $"{spinner} {progress.Text}{(progress.Fraction is { } done && double.IsFinite(done) ? string.Create(CultureInfo.InvariantCulture, $" {Math.Clamp(done, 0, 1) * 100:0} %") : "")}{(progress.CanCancel ? " (Ctrl-C gives it up)" : "")}",
            { Run: RunState.Starting } => $"{spinner} starting",
            { Run: RunState.Running } => $"{spinner} running",
            { Run: RunState.Stopped, Stop: { } stop } => $"● {stop.Cause}",
            { Run: RunState.Ended } when !state.Abilities.IsLive => "■ trace, " + Plural.Of(state.Timeline.All.Count + state.Timeline.Hidden, "hit") + (state.Timeline.Hidden > 0 ? $", the first {state.Timeline.All.Count} listed" : ""),
            { Run: RunState.Ended, EndReason: var reason } => $"■ ended{(reason is null ? "" : ": " + reason)}",
            _ => "",
        };
    }
}
