using System.Text;
using System.Text.RegularExpressions;
using KTrace.Symbols.Elf;

namespace KTrace.Symbols.Lookup;

/// <summary>
/// How a person names several things at once: a glob (<c>irq_*</c>, <c>*</c> and <c>?</c>) or a regular expression between slashes (<c>/^irq_(en|dis)able$/</c>;
/// it may match anywhere in a name, as with grep). Matching takes time linear in the name, whatever the expression is.
/// </summary>
public sealed class NamePattern
{
    private const int MaximumLength = 512;
    private const int MaximumName = 1024;

    private readonly Regex? _regex;
    private readonly byte[] _glob;

    private NamePattern(string text, Regex? regex)
    {
        Text = text;
        _regex = regex;
        _glob = regex is null ? Encoding.UTF8.GetBytes(text) : [];
    }

    /// <summary>As written.</summary>
    public string Text { get; }

    /// <summary>True for text that is meant as a pattern, whether or not it is a good one.</summary>
    public static bool IsPattern(string text) => (text.Length > 2 && text[0] == '/' && text[^1] == '/') || text.Contains('*') || text.Contains('?');

    /// <summary>False with the reason when it cannot be one.</summary>
    public static bool TryParse(string text, out NamePattern pattern, out string problem)
    {
        pattern = null!;
        problem = "";
        if (text.Length > MaximumLength)
        {
            problem = $"a pattern of {text.Length} characters; {MaximumLength} are allowed";
            return false;
        }

        if (text.Length < 3 || text[0] != '/' || text[^1] != '/')
        {
            pattern = new NamePattern(text, null);
            return true;
        }

        try
        {
            // Without backtracking no expression takes more than linear time; what needs it (back references, look-around) is refused.
            pattern = new NamePattern(text, new Regex(text[1..^1], RegexOptions.NonBacktracking | RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture));
            return true;
        }
        catch (Exception e) when (e is ArgumentException or NotSupportedException)
        {
            problem = $"{text} is no regular expression that ktrace takes: {e.Message.Split('\n')[0]}";
            return false;
        }
    }

    public bool IsMatch(ReadOnlySpan<byte> name)
    {
        if (_regex is null)
        {
            return SymbolNameMatching.Glob(_glob, name);
        }

        if (name.Length > MaximumName)
        {
            name = name[..MaximumName];
        }

        Span<char> text = stackalloc char[name.Length];
        return _regex.IsMatch(text[..Encoding.UTF8.GetChars(name, text)]);
    }

    public bool IsMatch(string name) => IsMatch(Encoding.UTF8.GetBytes(name));
}
