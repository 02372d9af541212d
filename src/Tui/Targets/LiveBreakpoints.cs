using System.Collections.Immutable;
using System.Globalization;
using KTrace.Debugger;
using KTrace.Debugger.Breakpoints;
using KTrace.Debugger.Sessions;
using KTrace.Rsp.Commands;
using KTrace.Tui.Commands;

namespace KTrace.Tui.Targets;

/// <summary>A session's breakpoints for the screen, and what keys do to them.</summary>
internal static class LiveBreakpoints
{
    public static ImmutableArray<BreakpointRow> Rows(DebugSession session) => [.. session.Breakpoints.All.Select(b => new BreakpointRow(
        b.Number, Kind(b), b.Text, Where(b), b.Actions.Condition?.Text, b.IsEnabled, b.IsPending, b.Hits, AddressOf(b), b.Place?.Declaration?.File, b.Place?.Declaration?.Line))];

    /// <summary>Sets a breakpoint at a place, or deletes those that are there.</summary>
    /// <exception cref="TargetException">No such place.</exception>
    public static async ValueTask ToggleAsync(DebugSession session, CommandExecutor executor, string place, CancellationToken cancellationToken)
    {
        var there = At(session, place);
        foreach (var breakpoint in there)
        {
            await session.Breakpoints.DeleteAsync(breakpoint, cancellationToken);
        }

        if (there.Count == 0)
        {
            await executor.ExecuteAsync(new DebuggerCommand.Break(place, new BreakpointOptions()), cancellationToken);
        }
    }

    /// <exception cref="TargetException">There is no such breakpoint.</exception>
    public static Breakpoint Find(DebugSession session, int number) =>
        session.Breakpoints.Find(number) ?? throw new TargetException($"there is no breakpoint {number}", null);

    private static List<Breakpoint> At(DebugSession session, string place)
    {
        if (session.Breakpoints.All.Where(b => b.Watched is null && b.Text == place.Trim()).ToList() is { Count: > 0 } named)
        {
            return named;
        }

        try
        {
            var addresses = session.Breakpoints.Resolve(place).Addresses.ToHashSet();
            return [.. session.Breakpoints.All.Where(b => b.Address is { } one ? addresses.Contains(one) : b.Place?.Addresses.Any(addresses.Contains) == true)];
        }
        catch (TargetException)
        {
            // A place of a module that is not loaded, or no place at all: setting it tells.
            return [];
        }
    }

    private static string Kind(Breakpoint breakpoint) => (breakpoint.IsTemporary ? "temporary " : "") + (breakpoint.Kind switch
    {
        _ when breakpoint.IsTracepoint => "tracepoint",
        BreakpointKind.Hardware => "hardware",
        BreakpointKind.WriteWatchpoint => "watch",
        BreakpointKind.ReadWatchpoint => "rwatch",
        BreakpointKind.AccessWatchpoint => "awatch",
        _ => "breakpoint",
    });

    private static ulong? AddressOf(Breakpoint breakpoint) => breakpoint.Watched?.Address ?? breakpoint.Address ?? breakpoint.Place?.Address;

    private static string Where(Breakpoint breakpoint)
    {
        if (breakpoint.IsPending)
        {
            return breakpoint.Place?.Module is { } module ? $"waits for module {module}" : breakpoint.IsEnabled ? "waits for the kernel" : "not set";
        }

        var source = breakpoint.Place?.Declaration is { } at ? string.Create(CultureInfo.InvariantCulture, $"  {at.File}:{at.Line}") : "";
        return breakpoint.Watched is { } watched ? string.Create(CultureInfo.InvariantCulture, $"{watched.Length} bytes at 0x{watched.Address:x}")
            : breakpoint.Place is { } place ? $"{place.Symbol} at 0x{place.Address:x}{(place.Addresses.Count > 1 ? $" and {place.Addresses.Count - 1} more" : "")}{source}"
            : $"0x{breakpoint.Address:x}";
    }
}
