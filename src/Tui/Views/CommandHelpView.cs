using KTrace.Tui.Commands;

namespace KTrace.Tui.Views;

/// <summary>All commands of a live session, or one of them.</summary>
public sealed class CommandHelpView(string? topic) : View
{
    public override IEnumerable<TextLine> Lines(int? width)
    {
        if (topic is null)
        {
            foreach (var entry in CommandTable.All)
            {
                var shortest = entry.Aliases.OrderBy(a => a.Length).FirstOrDefault() is { } alias && alias.Length < entry.Name.Length ? $"{entry.Name} ({alias})" : entry.Name;
                foreach (var line in new TextLine().Add(shortest, TextRole.Function).PadTo(24).Wrap(entry.Meaning, TextRole.Plain, width))
                {
                    yield return line;
                }
            }

            yield return new TextLine().Add("help COMMAND shows an example; an empty line repeats the last command; Ctrl-C stops the guest");
        }
        else if (CommandTable.Find(topic, out var others) is { } entry)
        {
            yield return new TextLine().Add($"{entry.Name} {entry.Arguments}", TextRole.Heading);
            foreach (var line in new TextLine().PadTo(2).Wrap(entry.Meaning, TextRole.Plain, width))
            {
                yield return line;
            }

            if (!entry.Aliases.IsEmpty)
            {
                yield return new TextLine().PadTo(2).Add($"also: {string.Join(", ", entry.Aliases)}");
            }

            yield return new TextLine().PadTo(2).Add($"for example: {entry.Example}");
        }
        else
        {
            yield return new TextLine().Add(others.Count == 0 ? $"there is no command '{topic}'" : $"'{topic}' may be {string.Join(", ", others.Select(o => o.Name))}", TextRole.Warning);
        }
    }
}
