using System.Globalization;
using KTrace.Debugger;
using KTrace.Tui.Views;

namespace KTrace.Tui.Commands;

/// <summary><c>display</c>, <c>undisplay</c>: what is shown again at every stop (gdb manual, "Automatic Display").</summary>
internal sealed class DisplayCommands(CommandContext context, FrameCommands frames, MemoryCommands memory)
{
    private readonly SortedDictionary<int, DebuggerCommand.Display> _displays = [];
    private int _last;

    public async ValueTask ExecuteAsync(DebuggerCommand command, CancellationToken cancellationToken)
    {
        switch (command)
        {
            case DebuggerCommand.Display { Shown: null }:
                await ShowAsync(cancellationToken);
                break;
            case DebuggerCommand.Display display:
                _displays[++_last] = display;
                await ShowAsync(_last, display, cancellationToken);
                break;
            case DebuggerCommand.Undisplay { What: "" }:
                _displays.Clear();
                break;
            case DebuggerCommand.Undisplay { What: var what }:
                var number = int.TryParse(what, NumberStyles.None, CultureInfo.InvariantCulture, out var given) ? given : _displays.FirstOrDefault(d => d.Value.Text == what || d.Value.Shown is DebuggerCommand.Print { Expression: var shown } && shown == what).Key;
                if (!_displays.Remove(number))
                {
                    throw new TargetException($"{what} is not displayed", "info display lists what is");
                }

                break;
        }
    }

    /// <summary>Everything, as after a stop.</summary>
    public async ValueTask ShowAsync(CancellationToken cancellationToken)
    {
        foreach (var (number, display) in _displays)
        {
            await ShowAsync(number, display, cancellationToken);
        }
    }

    public void List() => context.Output.Write(new LinesView(
        [.. _displays.Select(d => new TextLine().Add(string.Create(CultureInfo.InvariantCulture, $"{d.Key}:"), TextRole.Number).PadTo(5).Add(d.Value.Text)).DefaultIfEmpty(new TextLine().Add("nothing is displayed"))]));

    /// <summary>One that cannot be told here is said so, and stays: it may be known at the next stop.</summary>
    private async ValueTask ShowAsync(int number, DebuggerCommand.Display display, CancellationToken cancellationToken)
    {
        var label = string.Create(CultureInfo.InvariantCulture, $"{number}: ");
        try
        {
            if (display.Shown is DebuggerCommand.Print { Expression: var expression, Format: var format })
            {
                await frames.PrintAsync(expression, format, label, cancellationToken);
            }
            else
            {
                context.Say(label + display.Text, TextRole.Heading);
                await memory.ExecuteAsync(display.Shown!, cancellationToken);
            }
        }
        catch (TargetException e)
        {
            context.Say(label + display.Text + ": " + e.Message, TextRole.Warning);
        }
    }
}
