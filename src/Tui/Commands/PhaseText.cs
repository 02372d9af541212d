using System.Globalization;
using KTrace.Debugger.Sessions;

namespace KTrace.Tui.Commands;

/// <summary>Where a CPU stands, whatever runs there: <c>0x1000000 startup_64  kernel at physical addresses, from 0x1000000</c>.</summary>
internal static class PhaseText
{
    public static async ValueTask<string> OfAsync(DebugSession session, CancellationToken cancellationToken)
    {
        var location = await session.LocateAsync(cancellationToken);
        var frame = location.Map?.Symbolize(location.LinearPc) is [var named, ..] && !named.Function.StartsWith("0x", StringComparison.Ordinal) ? named : null;
        var name = frame is null ? "" : $" {frame.Function}{(frame.Offset > 0 ? $"+0x{frame.Offset:x}" : "")}";
        var source = frame?.Source is { } at ? string.Create(CultureInfo.InvariantCulture, $"  {at.File}:{at.Line}") : "";
        return $"0x{location.LinearPc:x}{name}{source}  {location.Words}";
    }
}
