using System.Collections.Immutable;
using KTrace.Debugger;
using KTrace.Tui.Commands;
using KTrace.Tui.Views;

namespace KTrace.Tui.Targets;

/// <summary>Takes the answers of one command.</summary>
internal sealed class CapturedOutput : ICommandOutput
{
    // `info types` of a kernel would be a hundred thousand lines; nobody scrolls through them.
    private const int MaximumLines = 20_000;

    private readonly List<TextLine> _lines = [];

    /// <summary>The guest's, once there is one.</summary>
    public IGuestLine? Line { get; set; }

    public void Write(View view)
    {
        foreach (var line in view.Lines(null))
        {
            if (_lines.Count >= MaximumLines)
            {
                _lines[^1] = new TextLine().Add("… and more", TextRole.Reason);
                return;
            }

            _lines.Add(line);
        }
    }

    public ValueTask SendToConsoleAsync(string text, CancellationToken cancellationToken) =>
        (Line ?? throw new TargetException("the guest's console is not connected to ktrace", "type where its QEMU runs")).TypeAsync(text, cancellationToken);

    /// <summary>What was written since the last time.</summary>
    public ImmutableArray<TextLine> Take()
    {
        ImmutableArray<TextLine> lines = [.. _lines];
        _lines.Clear();
        return lines;
    }
}
