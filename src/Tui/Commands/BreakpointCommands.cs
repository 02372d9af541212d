using System.Globalization;
using KTrace.Debugger;
using KTrace.Debugger.Breakpoints;
using KTrace.Debugger.Phases;
using KTrace.Tui.Views;

namespace KTrace.Tui.Commands;

/// <summary><c>break</c>, <c>watch</c>, <c>delete</c>, <c>enable</c>, <c>condition</c>, <c>ignore</c>.</summary>
internal sealed class BreakpointCommands(CommandContext context)
{
    public async ValueTask ExecuteAsync(DebuggerCommand command, CancellationToken cancellationToken)
    {
        var list = context.Session.Breakpoints;
        switch (command)
        {
            case DebuggerCommand.Break { Place: var place, Options: var options }:
                Show(await list.AddAsync(place is null ? await HereAsync(cancellationToken) : await EarlyAsync(await context.PlaceAsync(place, cancellationToken), cancellationToken), options, cancellationToken));
                break;
            case DebuggerCommand.Watch { Expression: var expression, Kind: var kind }:
                Show([await context.Session.WatchAsync(expression, kind, await context.FrameAsync(cancellationToken), cancellationToken: cancellationToken)]);
                break;
            case DebuggerCommand.Delete { Numbers: var numbers }:
                foreach (var breakpoint in Chosen(numbers))
                {
                    await list.DeleteAsync(breakpoint, cancellationToken);
                }

                break;
            case DebuggerCommand.Enable { Numbers: var numbers, IsEnabled: var isEnabled }:
                foreach (var breakpoint in Chosen(numbers))
                {
                    await list.EnableAsync(breakpoint, isEnabled, cancellationToken);
                }

                break;
            case DebuggerCommand.Condition { Number: var number, Expression: var text }:
                BreakpointList.SetCondition(One(number), text);
                Show([One(number)]);
                break;
            case DebuggerCommand.Ignore { Number: var number, Count: var count }:
                One(number).IgnoreCount = count;
                context.Say(string.Create(CultureInfo.InvariantCulture, $"the next {count} hits of breakpoint {number} will pass"));
                break;
        }
    }

    private async ValueTask<string> HereAsync(CancellationToken cancellationToken) =>
        $"*0x{(await context.Session.Machine.RegistersAsync(context.Session.Cpu, cancellationToken)).ProgramCounter:x}";

    /// <summary>
    /// A function of the code that runs now, before the kernel does (<c>extract_kernel</c>), at the address where it runs; everything else as it was written.
    /// </summary>
    private async ValueTask<string> EarlyAsync(string place, CancellationToken cancellationToken)
    {
        if (context.Session.Map is not null || place.StartsWith('*'))
        {
            return place;
        }

        var location = await context.Session.LocateAsync(cancellationToken);
        var end = place.IndexOf(' ', StringComparison.Ordinal) is var space and >= 0 ? space : place.Length;
        return location is { Phase: BootPhase.RealMode or BootPhase.Firmware or BootPhase.Decompressor, Map: { } map } && map.Image.TryFindSymbol(place[..end], out var symbol)
            ? $"*0x{map.ToRunTime(symbol.Value):x}{place[end..]}"
            : place;
    }

    private void Show(IReadOnlyCollection<Breakpoint> made)
    {
        context.Output.Write(new BreakpointTableView(made));
        foreach (var note in made.Select(b => b.Place?.NoteNow).OfType<string>())
        {
            context.Say(note);
        }
    }

    private IReadOnlyList<Breakpoint> Chosen(IReadOnlyList<int> numbers) =>
        numbers.Count == 0 ? [.. context.Session.Breakpoints.All] : [.. numbers.Select(One)];

    private Breakpoint One(int number) => context.Session.Breakpoints.Find(number)
        ?? throw new TargetException($"there is no breakpoint {number}", "info breakpoints lists them");
}
