using KTrace.Debugger.Stepping;
using KTrace.Tui.State;
using KTrace.Tui.Targets;
using KTrace.Tui.Terminal;
using KTrace.Tui.Update;

namespace KTrace.Tests.Tui.Screens;

/// <summary>The command line, the search and the filter.</summary>
public class PromptTests
{
    public static TheoryData<string, string, string> Edits => new()
    {
        { "print a", "Ctrl-A", "|print a" }, { "print a", "Ctrl-W", "print |" }, { "print a", "Ctrl-U", "|" }, { "print a", "Backspace", "print |" }, { "print a", "Left Left Ctrl-K", "print| " },
        { "print a", "Home Delete", "|rint a" }, { "print a", "Ctrl-A Ctrl-F Ctrl-D", "p|int a" }, { "a->b c", "Alt-B Alt-B", "a->|b c" }, { "a b", "Alt-Backspace", "a |" },
        { "漢字", "Left Backspace", "|字" }, { "😀", "Backspace", "|" }, { "😀", "Left", "|😀" }, { "x", "Home Right Right End", "x|" }, { "one two", "Home Alt-F Alt-D", "one|" },
    };

    [Theory]
    [MemberData(nameof(Edits))]
    public void Editing_is_as_in_readline(string text, string keys, string expected)
    {
        var screen = UiSamples.Live(80, 24).Type(":" + text);
        foreach (var key in keys.Split(' '))
        {
            screen.Press(Chord(key));
        }

        var prompt = screen.State.Prompt!;
        Assert.Equal(expected.TrimEnd(), prompt.Text.Insert(prompt.Cursor, "|").TrimEnd());
    }

    [Fact]
    public void History_goes_back_and_forth_and_keeps_what_was_being_written()
    {
        var screen = UiSamples.Live(80, 24).Type(":print 1\n:info cpus\n:pr").Press(KeyName.Up);
        Assert.Equal("info cpus", screen.State.Prompt!.Text);
        Assert.Equal("print 1", screen.Press(KeyName.Up).Press(KeyName.Up).State.Prompt!.Text);
        Assert.Equal("pr", screen.Press(KeyName.Down).Press(KeyName.Down).State.Prompt!.Text);
        Assert.Equal("print 1", screen.Press(KeyChord.Control('r')).State.Prompt!.Text);
        Assert.Equal(["print 1", "info cpus"], screen.State.Remembered.History.ToArray()[^2..]);
        Assert.Contains(screen.Effects, e => e is UiEffect.Remember);
    }

    [Fact]
    public void Tab_completes_commands_by_itself_and_arguments_by_the_target()
    {
        var screen = UiSamples.Live(80, 24).Type(":disp\t");
        Assert.Equal("display ", screen.State.Prompt!.Text);
        screen.Type("jif\t");
        Assert.Equal(new TargetRequest.Complete("display jif", 11), Assert.Single(screen.Asked));
        screen.Hear(new TargetNews.Completions("display jif", 11, 8, ["jiffies", "jiffies_64"]));
        Assert.Equal("display jiffies", screen.State.Prompt!.Text);
        Assert.Contains("jiffies_64", screen.Screen()[^2], StringComparison.Ordinal);
        screen.Type("\t\t");
        Assert.Equal("display jiffies_64", screen.State.Prompt!.Text);
        screen.Type("x").Hear(new TargetNews.Completions("display jif", 11, 8, ["late"]));
        Assert.Equal("display jiffies_64x", screen.State.Prompt!.Text);
    }

    public static TheoryData<string, TargetRequest> Lines => new()
    {
        { "s", new TargetRequest.Step(StepKind.Line) }, { "next 3", new TargetRequest.Step(StepKind.LineOver, 3) }, { "si", new TargetRequest.Step(StepKind.Instruction) },
        { "c", new TargetRequest.Continue() }, { "fin", new TargetRequest.Finish(0) }, { "advance foo", new TargetRequest.RunTo("foo") }, { "cpu 1", new TargetRequest.SelectCpu(1) },
        { "b foo if x == 1", new TargetRequest.Command("b foo if x == 1") }, { "watch jiffies_64", new TargetRequest.Command("watch jiffies_64") }, { "x/8gx $rsp", new TargetRequest.Command("x/8gx $rsp") },
        { "set var x = 1", new TargetRequest.Command("set var x = 1") }, { "p/x 10", new TargetRequest.Command("p/x 10") }, { "disas foo", new TargetRequest.Disassemble("foo") },
        { "up", new TargetRequest.SelectFrame(1) }, { "frame 2", new TargetRequest.SelectFrame(2) }, { "w a b.ktrace", new TargetRequest.Save("a b.ktrace") },
        { "export x.json 12", new TargetRequest.Export("x.json", 12) }, { "export x.json", new TargetRequest.Export("x.json", null) }, { "source ~/linux", new TargetRequest.UseSource("~/linux") },
        { "diff other.ktrace", new TargetRequest.CompareWith("other.ktrace") }, { "diff 2 5", new TargetRequest.CompareHits(2, 5) }, { "hit 3", new TargetRequest.ShowHit(3) },
        { "mem $rsp", new TargetRequest.ReadMemory("$rsp", 512) }, { "irqs", new TargetRequest.ReadInterrupts() }, { "console ls", new TargetRequest.TypeToConsole("ls\n") }, { "detach", new TargetRequest.Detach() },
    };

    [Theory]
    [MemberData(nameof(Lines))]
    public void A_line_asks_for_what_it_says(string line, TargetRequest expected) => Assert.Equal(expected, Assert.Single(UiSamples.Live(80, 24).Type($":{line}\n").Asked));

    [Theory]
    [InlineData("nonsense", "no command 'nonsense'")]
    [InlineData("re", "may be")]
    [InlineData("jump 3", "exact replay")]
    [InlineData("layout 9", "layout N|NAME")]
    [InlineData("hit x", "hit N")]
    public void A_line_that_cannot_be_done_says_so_in_place(string line, string why)
    {
        var screen = UiSamples.Live(132, 43).Type($":{line}\n");
        Assert.Empty(screen.Asked);
        Assert.Contains(why, screen.Screen()[^1], StringComparison.Ordinal);
    }

    [Fact]
    public void A_command_of_a_machine_is_refused_in_a_trace_and_while_the_guest_runs()
    {
        Assert.Contains("this is a trace", UiSamples.OfTrace(80, 24).Type(":b foo\n").Screen()[^1], StringComparison.Ordinal);
        Assert.Contains("Ctrl-C", UiSamples.Live(80, 24).Hear(new TargetNews.Running()).Type(":p foo\n").Screen()[^1], StringComparison.Ordinal);
    }

    [Fact]
    public void Displayed_expressions_are_watched_remembered_and_taken_away()
    {
        var screen = UiSamples.Live(80, 24).Type(":display jiffies_64\n");
        Assert.Equal(["jiffies_64"], Assert.IsType<TargetRequest.Watch>(Assert.Single(screen.Asked)).Expressions);
        Assert.Equal(["jiffies_64"], screen.State.Remembered.Watches.ToArray());
        screen.Hear(new TargetNews.Watched([new ValueRow("jiffies_64", "jiffies_64", "u64", "42", null, false)])).Type(":pane var\n");
        Assert.Contains("jiffies_64 = 42", screen.Text(), StringComparison.Ordinal);
        screen.Forget().Type(":display/x jiffies\n");
        Assert.Equal(["jiffies_64", "jiffies"], Assert.IsType<TargetRequest.Watch>(Assert.Single(screen.Asked)).Expressions);
        screen.Forget().Type(":undisplay jiffies\n");
        Assert.Equal(["jiffies_64"], Assert.IsType<TargetRequest.Watch>(Assert.Single(screen.Asked)).Expressions);
        screen.Forget().Type("x");
        Assert.Empty(Assert.IsType<TargetRequest.Watch>(Assert.Single(screen.Asked)).Expressions);
        Assert.Contains("7 is not watched", screen.Type(":undisplay 7\n").Screen()[^1], StringComparison.Ordinal);
    }

    [Fact]
    public void Remembered_watches_are_handed_over_at_the_first_stop()
    {
        var screen = new UiDriver(UiState.Begin(new TerminalSize(80, 24), UiSamples.Looks, UiSamples.LiveAbilities, Remembered.Nothing with { Watches = ["current"] }));
        screen.Hear(new TargetNews.Stopped(UiSamples.Stop), new TargetNews.Stopped(UiSamples.Stop));
        Assert.Equal(["current"], Assert.Single(screen.Asked.OfType<TargetRequest.Watch>()).Expressions);
    }

    [Fact]
    public void A_search_is_shown_while_it_is_written_and_undone_by_escape()
    {
        var screen = UiSamples.Live(80, 24).Type("1j");
        var before = screen.State.Pane(PaneKind.CallPath);
        screen.Type("/msi_domain");
        Assert.NotEqual(before.Cursor, screen.State.Pane(PaneKind.CallPath).Cursor);
        screen.Type("\e");
        Assert.Equal(before.Cursor, screen.State.Pane(PaneKind.CallPath).Cursor);
        Assert.Contains("not found", screen.Type("/no such thing\n").Screen()[^1], StringComparison.Ordinal);
        Assert.Null(screen.Type("\e").State.Pane(PaneKind.CallPath).Search);
    }

    [Fact]
    public void A_filter_keeps_the_chosen_hit_and_escape_takes_it_away()
    {
        var screen = UiSamples.OfTrace(80, 24).Type("jjj&place:irq_msi\n");
        Assert.Contains("& place:irq_msi", screen.Text(), StringComparison.Ordinal);
        Assert.All(Enumerable.Range(0, screen.State.Timeline.Count), i => Assert.Equal("irq_msi_compose_msg", screen.State.Timeline[i].Place));
        Assert.Equal(4, screen.State.Timeline[screen.State.Pane(PaneKind.Hits).Cursor].Sequence);
        screen.Type("\e");
        Assert.Equal(29, screen.State.Timeline.Count);
        Assert.Equal(3, screen.State.Pane(PaneKind.Hits).Cursor);
    }

    private static KeyChord Chord(string name) => name.Split('-') switch
    {
        ["Ctrl", var key] => KeyChord.Control(char.ToLowerInvariant(key[0])),
        ["Alt", { Length: 1 } key] => new KeyChord(KeyName.Character, new System.Text.Rune(char.ToLowerInvariant(key[0])), KeyModifiers.Alt),
        ["Alt", var key] => new KeyChord(Enum.Parse<KeyName>(key), default, KeyModifiers.Alt),
        _ => Enum.Parse<KeyName>(name),
    };
}
