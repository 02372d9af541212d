using System.CommandLine;
using System.CommandLine.Parsing;
using System.Text;

namespace KTrace.Cli;

/// <summary>A command line that cannot be meant as it is: what is wrong in one line, and what was probably meant.</summary>
internal static class Misspelling
{
    /// <summary>Null when the command line is in order.</summary>
    public static (string Message, string Remedy)? Find(ParseResult parsed, string[] args)
    {
        var command = parsed.CommandResult.Command;
        var path = PathOf(parsed.CommandResult);
        var help = $"ktrace {path}--help";

        // An argument takes any word; one with dashes is an option that does not exist.
        var unknown = parsed.UnmatchedTokens.Concat(parsed.CommandResult.Children.OfType<ArgumentResult>().SelectMany(a => a.Tokens).Select(t => t.Value))
            .Where(t => t.Length > 1 && t[0] == '-' && !File.Exists(t)).OrderBy(t => Array.IndexOf(args, t)).FirstOrDefault();
        if (unknown is not null)
        {
            var name = unknown.Split('=')[0];
            var near = Nearest(name, command.Options.Where(o => !o.Hidden).SelectMany(o => o.Aliases.Prepend(o.Name)).Where(n => n.StartsWith("--", StringComparison.Ordinal)));
            return ($"unknown option {name}", near is null ? help : $"{near}, or {help}");
        }

        if (parsed.Errors.Count == 0)
        {
            return null;
        }

        if (parsed.UnmatchedTokens is [var first, ..] && command.Subcommands.Count > 0)
        {
            var near = Nearest(first, command.Subcommands.Select(c => c.Name));
            return ($"there is no verb '{path}{first}'", near is null ? help : $"ktrace {path}{near}, or {help}");
        }

        if (command.Subcommands.Count > 0)
        {
            return ($"ktrace {path.TrimEnd()} needs to know what to do: {string.Join(", ", command.Subcommands.Select(c => c.Name))}", help);
        }

        return (parsed.UnmatchedTokens is [var extra, ..] ? $"unexpected argument '{extra}'" : Plain(parsed.Errors[0].Message), help);
    }

    /// <summary>The library names .NET types; people asked for a number.</summary>
    private static string Plain(string message) =>
        message.Split('\'') is ["Cannot parse argument ", var value, " for option ", var option, ..] ? $"{option} takes a number, not '{value}'" : message.TrimEnd('.');

    private static string PathOf(CommandResult result)
    {
        var path = new StringBuilder();
        for (CommandResult? at = result; at is not null && at.Command is not RootCommand; at = at.Parent as CommandResult)
        {
            path.Insert(0, at.Command.Name + " ");
        }

        return path.ToString();
    }

    /// <summary>The name with the fewest letters to change, if that is not half of them; a beginning of a name counts as near.</summary>
    private static string? Nearest(string word, IEnumerable<string> names) => names
        .Select(name => (Name: name, Distance: name.StartsWith(word, StringComparison.Ordinal) && word.Length > 2 ? 1 : Distance(word, name)))
        .Where(n => n.Distance <= Math.Max(1, word.TrimStart('-').Length / 2)).OrderBy(n => n.Distance).Select(n => n.Name).FirstOrDefault();

    /// <summary>Letters to insert, delete, replace or swap with their neighbour.</summary>
    private static int Distance(string a, string b)
    {
        if (a.Length > 64)
        {
            return int.MaxValue;
        }

        var rows = new int[a.Length + 1, b.Length + 1];
        for (var i = 0; i <= a.Length; i++)
        {
            for (var j = 0; j <= b.Length; j++)
            {
                rows[i, j] = i == 0 ? j : j == 0 ? i : Math.Min(
                    Math.Min(rows[i - 1, j], rows[i, j - 1]) + 1, rows[i - 1, j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1));
                if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                {
                    rows[i, j] = Math.Min(rows[i, j], rows[i - 2, j - 2] + 1);
                }
            }
        }

        return rows[a.Length, b.Length];
    }
}
