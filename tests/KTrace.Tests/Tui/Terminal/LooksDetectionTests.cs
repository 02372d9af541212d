using KTrace.Tui.State;
using KTrace.Tui.Terminal;

namespace KTrace.Tests.Tui.Terminal;

public sealed class LooksDetectionTests
{
    [Theory]
    [InlineData("TERM=xterm-256color", ColourDepth.TwoHundredFiftySix)]
    [InlineData("TERM=xterm", ColourDepth.Sixteen)]
    [InlineData("TERM=xterm COLORTERM=truecolor", ColourDepth.True)]
    [InlineData("TERM=xterm-256color COLORTERM=24bit", ColourDepth.True)]
    [InlineData("TERM=xterm-256color COLORTERM=1", ColourDepth.TwoHundredFiftySix)]
    [InlineData("TERM=xterm-kitty", ColourDepth.True)]
    [InlineData("TERM=xterm-direct", ColourDepth.True)]
    [InlineData("TERM=xterm-mono", ColourDepth.None)]
    [InlineData("TERM=linux", ColourDepth.Sixteen)]
    [InlineData("TERM=vt100", ColourDepth.None)]
    [InlineData("TERM=vte-256color", ColourDepth.TwoHundredFiftySix)]
    [InlineData("TERM=tmux-256color TMUX=/tmp/t COLORTERM=truecolor", ColourDepth.True)]
    [InlineData("TERM=screen-256color COLORTERM=truecolor", ColourDepth.TwoHundredFiftySix)]
    [InlineData("TERM=screen-256color TMUX=/tmp/t COLORTERM=truecolor", ColourDepth.True)]
    [InlineData("TERM=xterm-256color COLORTERM=truecolor NO_COLOR=1", ColourDepth.None)]
    [InlineData("TERM=xterm-256color NO_COLOR=", ColourDepth.TwoHundredFiftySix)]
    public void Colours_are_what_the_environment_says(string environment, ColourDepth expected) => Assert.Equal(expected, From(environment).Colours);

    [Theory]
    [InlineData("LANG=C.UTF-8", true)]
    [InlineData("LANG=de_DE.utf8", true)]
    [InlineData("LANG=de_DE.ISO-8859-1", false)]
    [InlineData("LC_ALL=C LANG=C.UTF-8", false)]
    [InlineData("LC_ALL= LC_CTYPE=en_US.UTF-8 LANG=C", true)]
    [InlineData("TERM=xterm", false)]
    public void Unicode_is_the_locale_that_comes_first(string environment, bool expected) => Assert.Equal(expected, From(environment).IsUnicode);

    [Theory]
    [InlineData("COLORFGBG=0;15", true)]
    [InlineData("COLORFGBG=0;default;7", true)]
    [InlineData("COLORFGBG=15;0", false)]
    [InlineData("COLORFGBG=15;8", false)]
    [InlineData("COLORFGBG=x", false)]
    [InlineData("TERM=xterm", false)]
    public void A_light_background_is_known_from_COLORFGBG(string environment, bool expected) => Assert.Equal(expected, From(environment).IsLight);

    [Fact]
    public void What_the_terminal_says_of_its_background_counts()
    {
        TerminalLooks looks = From("TERM=xterm COLORFGBG=15;0");
        Assert.True(LooksDetection.With(looks, new TerminalAnswer.Background(1, 1, 0.9)).IsLight);
        Assert.False(LooksDetection.With(looks with { IsLight = true }, new TerminalAnswer.Background(0.1, 0.1, 0.4)).IsLight);
    }

    [Theory]
    [InlineData(0, false)]
    [InlineData(1, true)]
    [InlineData(2, true)]
    [InlineData(4, false)]
    public void Synchronised_output_is_there_where_the_terminal_knows_the_mode(int setting, bool expected) =>
        Assert.Equal(expected, LooksDetection.With(TerminalLooks.Plain, new TerminalAnswer.Mode(2026, setting)).HasSynchronisedOutput);

    [Theory]
    [InlineData("TERM=linux", false)]
    [InlineData("TERM=vt220", false)]
    [InlineData("TERM=xterm", true)]
    public void Only_terminals_that_know_questions_are_asked_and_have_a_mouse(string environment, bool expected)
    {
        Assert.Equal(expected, LooksDetection.CanBeAsked(Variables(environment)));
        Assert.Equal(expected, From(environment).HasMouse);
    }

    [Theory]
    [InlineData("TERM=dumb", true)]
    [InlineData("TERM=", true)]
    [InlineData("LANG=C", true)]
    [InlineData("TERM=vt100", false)]
    public void A_terminal_without_a_cursor_is_dumb(string environment, bool expected) => Assert.Equal(expected, LooksDetection.IsDumb(Variables(environment)));

    private static TerminalLooks From(string environment) => LooksDetection.From(Variables(environment));

    private static Func<string, string?> Variables(string environment)
    {
        Dictionary<string, string> variables = environment.Split(' ').Select(pair => pair.Split('=', 2)).ToDictionary(pair => pair[0], pair => pair[1]);
        return name => variables.GetValueOrDefault(name);
    }
}
