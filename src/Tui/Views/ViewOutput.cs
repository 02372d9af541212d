using System.Text;
using Spectre.Console;

namespace KTrace.Tui.Views;

/// <summary>Where views go: a terminal of some width, with or without colour, or a pipe.</summary>
public sealed class ViewOutput
{
    private const int Chunk = 32 << 10;

    private readonly TextWriter _writer;
    private readonly int? _width;
    private readonly IAnsiConsole? _console;

    /// <param name="writer">Takes the text.</param>
    /// <param name="width">Cells of the terminal; null for a pipe: plain text, nothing shortened.</param>
    /// <param name="ansi">The terminal knows escape sequences.</param>
    /// <param name="colour">Colours are wanted.</param>
    public ViewOutput(TextWriter writer, int? width, bool ansi, bool colour)
    {
        _writer = writer;
        _width = width;
        if (width is { } cells && ansi)
        {
            _console = AnsiConsole.Create(new AnsiConsoleSettings
            {
                Ansi = AnsiSupport.Yes,
                ColorSystem = colour ? ColorSystemSupport.Standard : ColorSystemSupport.NoColors,
                Interactive = InteractionSupport.No,
                Out = new AnsiConsoleOutput(writer),
            });
            _console.Profile.Width = cells;
        }
    }

    /// <summary>True for a terminal.</summary>
    public bool IsTerminal => _width is not null;

    /// <summary>Standard output as it is: NO_COLOR (no-color.org) and TERM=dumb are respected.</summary>
    /// <param name="writer">Usually <see cref="Console.Out"/>; any other writer is taken for a pipe.</param>
    public static ViewOutput For(TextWriter writer)
    {
        bool terminal = ReferenceEquals(writer, Console.Out) && !Console.IsOutputRedirected;
        string? term = Environment.GetEnvironmentVariable("TERM");
        return new ViewOutput(
            writer,
            terminal ? TerminalWidth() : null,
            ansi: !string.IsNullOrEmpty(term) && term != "dumb",
            colour: string.IsNullOrEmpty(Environment.GetEnvironmentVariable("NO_COLOR")));
    }

    public void Write(View view)
    {
        if (_console is not null)
        {
            _console.Write(view);
            return;
        }

        // A console's writer flushes at every call: 100,000 lines one by one would be as many system calls.
        var text = new StringBuilder();
        foreach (TextLine line in view.Lines(_width))
        {
            text.Append(line.Fit(_width)).Append('\n');
            if (text.Length >= Chunk)
            {
                _writer.Write(text);
                text.Clear();
            }
        }

        _writer.Write(text);
    }

    private static int TerminalWidth()
    {
        const int Usual = 80;
        try
        {
            return Console.WindowWidth > 0 ? Console.WindowWidth : Usual;
        }
        catch (IOException)
        {
            return Usual;
        }
    }
}
