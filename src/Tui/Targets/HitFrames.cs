using System.Collections.Immutable;
using KTrace.Tracing;
using KTrace.Tui.Commands;
using KTrace.Tui.Views;

namespace KTrace.Tui.Targets;

/// <summary>What a frame of a hit shows of itself: its source, and the variables that were taken with it.</summary>
internal static class HitFrames
{
    /// <param name="code">Its instructions, where there is a machine or a kernel to read them from.</param>
    /// <param name="variables">Locals besides its arguments, where they are known.</param>
    public static FrameSnapshot Of(
        TraceRecord.Hit hit, int index, SourceTree sources, CodeListing? code = null, ImmutableArray<ValueRow>? variables = null)
    {
        var frame = hit.Path.Frames[index];
        var lines = frame.File is { } file ? sources.Lines(file) : null;
        return new FrameSnapshot(
            index, frame.Function, frame.File, frame.Line, lines, lines is null ? WhyNoSource(frame, sources) : null, code,
            variables ?? [.. hit.ArgumentsOf(index).Select(a => Row(a, isArgument: true)), .. index == 0 ? hit.Prints.Select(Row) : []]);
    }

    public static ValueRow Row(TraceArgument argument, bool isArgument) => new(
        ArgumentText.Name(argument), argument.Name, argument.Type, argument.IsKnown ? ArgumentText.Value(argument) : null, argument.Provenance, CanExpand: false,
        argument.IsKnown ? null : argument.Provenance, isArgument);

    public static ValueRow Row(TracePrint print) => new(
        print.Expression, print.Expression, print.Type, print.Text ?? (print.Value is { } value ? TraceHex.Format(value) : null), null, CanExpand: false, print.Error);

    private static string WhyNoSource(TraceFrame frame, SourceTree sources) =>
        frame.File is not { } file ? "debug information names no source of this function"
        : sources.IsKnown ? $"{file} is not in this source tree"
        : $"no source here: --source DIR names a kernel source tree with {file}";
}
