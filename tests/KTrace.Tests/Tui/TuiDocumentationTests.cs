using System.Text;
using KTrace.Tests.Boot;
using KTrace.Tui.State;
using KTrace.Tui.Update;

namespace KTrace.Tests.Tui;

/// <summary>docs/tui.md lists what the program's own tables have; KTRACE_UPDATE_GOLDEN=1 writes it there.</summary>
public sealed class TuiDocumentationTests
{
    private static string File => Path.Combine(Repository.Root, "docs", "tui.md");

    [Fact]
    public void Every_key_is_in_the_documentation()
    {
        var text = new StringBuilder("| keys | in | |\n|---|---|---|\n");
        foreach (var binding in KeyMap.All)
        {
            var panes = binding.Panes.IsEmpty ? "" : string.Join(", ", binding.Panes.Select(NameOf));
            text.Append(System.Globalization.CultureInfo.InvariantCulture, $"| {string.Join(" ", binding.Keys.Select(k => $"`{k}`"))} | {panes} | {Escaped(binding.Meaning)} |\n");
        }

        Check("<!-- keys", "<!-- end of keys -->", text.ToString());
    }

    [Fact]
    public void Every_command_of_the_screen_is_in_the_documentation()
    {
        var text = new StringBuilder("| command | |\n|---|---|\n");
        foreach (var command in CommandLine.Own)
        {
            text.Append(System.Globalization.CultureInfo.InvariantCulture, $"| `:{Escaped(command.Name + " " + command.Arguments).TrimEnd()}` | {Escaped(command.Meaning)} |\n");
        }

        Check("<!-- commands", "<!-- end of commands -->", text.ToString());
    }

    private static string NameOf(PaneKind pane) => pane == PaneKind.CallPath ? "call path" : pane.ToString().ToLowerInvariant();

    private static string Escaped(string text) => text.Replace("|", "\\|", StringComparison.Ordinal);

    private static void Check(string begin, string end, string table)
    {
        var document = System.IO.File.ReadAllText(File);
        var from = document.IndexOf('\n', document.IndexOf(begin, StringComparison.Ordinal)) + 1;
        var to = document.IndexOf(end, StringComparison.Ordinal);
        if (Environment.GetEnvironmentVariable("KTRACE_UPDATE_GOLDEN") == "1")
        {
            System.IO.File.WriteAllText(File, document[..from] + table + document[to..]);
            return;
        }

        Assert.Equal(table, document[from..to]);
    }
}
