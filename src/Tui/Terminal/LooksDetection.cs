// What a terminal can show, as far as its environment says it: TERM (terminfo names), COLORTERM (truecolor, 24bit: VTE, konsole, iTerm and others), NO_COLOR
// (no-color.org), COLORFGBG (rxvt and konsole: foreground;background as palette numbers), and the locale's character set (POSIX: LC_ALL, LC_CTYPE, LANG).
// Inside tmux COLORTERM may come from the terminal around it; tmux reduces colours that this one does not have. GNU screen before 5.0 does not: it gets 256.
using KTrace.Tui.State;

namespace KTrace.Tui.Terminal;

/// <summary>Finds <see cref="TerminalLooks"/>: from the environment at once, from the terminal's answers when they come.</summary>
internal static class LooksDetection
{
    private const int SynchronisedOutput = 2026;

    // They show all colours and do not always say so over ssh, where COLORTERM stays behind.
    private static readonly string[] TrueColourTerms = ["kitty", "alacritty", "foot", "wezterm", "ghostty", "contour", "direct", "iterm"];

    /// <summary>Questions whose answers <see cref="With"/> takes: the background, mode 2026, and last what every terminal answers.</summary>
    public static ReadOnlySpan<byte> Questions => "\e]11;?\e\\\e[?2026$p\e[c"u8;

    /// <param name="variable">The environment.</param>
    public static TerminalLooks From(Func<string, string?> variable)
    {
        string term = variable("TERM") ?? "";
        return new TerminalLooks(
            Depth(term, variable),
            IsUnicode(variable),
            IsLight(variable("COLORFGBG")),
            HasMouse: !IsSimple(term) && !term.StartsWith("linux", StringComparison.Ordinal),
            HasSynchronisedOutput: false);
    }

    /// <summary>A terminal without cursor addressing: no screen can be shown on it.</summary>
    public static bool IsDumb(Func<string, string?> variable) => variable("TERM") is null or "" or "dumb" or "unknown";

    /// <summary>Whether <see cref="Questions"/> are understood or at least swallowed. The Linux console writes some of them on the screen.</summary>
    public static bool CanBeAsked(Func<string, string?> variable) => variable("TERM") is { } term && !IsSimple(term) && !term.StartsWith("linux", StringComparison.Ordinal);

    /// <summary>What is known after an answer.</summary>
    public static TerminalLooks With(TerminalLooks looks, TerminalAnswer answer) => answer switch
    {
        // Rec. 709: how bright a colour is to the eye.
        TerminalAnswer.Background b => looks with { IsLight = (0.2126 * b.Red) + (0.7152 * b.Green) + (0.0722 * b.Blue) > 0.5 },
        TerminalAnswer.Mode { Number: SynchronisedOutput } mode => looks with { HasSynchronisedOutput = mode.Setting is 1 or 2 or 3 },
        _ => looks,
    };

    private static ColourDepth Depth(string term, Func<string, string?> variable)
    {
        if (!string.IsNullOrEmpty(variable("NO_COLOR")) || IsSimple(term) || term.EndsWith("-mono", StringComparison.Ordinal) || term.EndsWith("-m", StringComparison.Ordinal))
        {
            return ColourDepth.None;
        }

        bool oldScreen = term.StartsWith("screen", StringComparison.Ordinal) && string.IsNullOrEmpty(variable("TMUX"));
        if (!oldScreen && (variable("COLORTERM") is "truecolor" or "24bit" || TrueColourTerms.Any(name => term.Contains(name, StringComparison.OrdinalIgnoreCase))))
        {
            return ColourDepth.True;
        }

        return term.Contains("256", StringComparison.Ordinal) ? ColourDepth.TwoHundredFiftySix : ColourDepth.Sixteen;
    }

    private static bool IsSimple(string term) =>
        term is "" or "dumb" or "unknown" || (term.StartsWith("vt", StringComparison.Ordinal) && term.Length > 2 && char.IsAsciiDigit(term[2]));

    private static bool IsUnicode(Func<string, string?> variable)
    {
        string locale = new[] { "LC_ALL", "LC_CTYPE", "LANG" }.Select(variable).FirstOrDefault(value => !string.IsNullOrEmpty(value)) ?? "";
        return locale.Contains("utf-8", StringComparison.OrdinalIgnoreCase) || locale.Contains("utf8", StringComparison.OrdinalIgnoreCase);
    }

    /// <summary>The background is the last part; 7 and 9 to 15 are light, as vim takes them.</summary>
    private static bool IsLight(string? colours) =>
        colours is not null && int.TryParse(colours.AsSpan(colours.LastIndexOf(';') + 1), out int background) && background is 7 or (>= 9 and <= 15);
}
