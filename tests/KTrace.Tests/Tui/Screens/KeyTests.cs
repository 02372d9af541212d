using KTrace.Debugger.Stepping;
using KTrace.Tracing;
using KTrace.Tui.State;
using KTrace.Tui.Targets;
using KTrace.Tui.Terminal;
using KTrace.Tui.Update;

namespace KTrace.Tests.Tui.Screens;

/// <summary>What every key does.</summary>
public class KeyTests
{
    public static IEnumerable<object[]> Bindings => KeyMap.All.SelectMany(b => b.Keys.Select(k => new object[] { b.Command, k.ToString() })).Distinct();

    // Every binding in every pane that it is for: in at least one of these states it must do something.
    [Theory]
    [MemberData(nameof(Bindings))]
    public void A_key_does_something_in_every_pane_that_it_claims(UiCommand command, string key)
    {
        var binding = KeyMap.All.First(b => b.Command == command && b.Keys.Any(k => k.ToString() == key));
        var chord = binding.Keys.First(k => k.ToString() == key);
        var panes = Enum.GetValues<PaneKind>().Where(p => KeyMap.Find(p, chord) == binding).ToArray();
        Assert.NotEmpty(panes);
        Assert.All(binding.Panes, p => Assert.Contains(p, panes));
        foreach (var pane in panes)
        {
            // Code, call path and hits have places; a run to a row of another pane is refused.
            if (binding.Needs.HasFlag(Needs.Place) && pane is not (PaneKind.Source or PaneKind.Disassembly or PaneKind.CallPath))
            {
                continue;
            }

            Assert.True(States().Any(s => DoesSomething(s(), pane, binding, chord)), $"{key} ({command}) does nothing in {pane}");
        }
    }

    [Fact]
    public void No_key_has_two_meanings_in_one_pane()
    {
        foreach (var pane in Enum.GetValues<PaneKind>())
        {
            var keys = KeyMap.All.Where(b => b.Panes.Contains(pane)).SelectMany(b => b.Keys).ToArray();
            Assert.Equal(keys.Length, keys.Distinct().Count());
        }

        var everywhere = KeyMap.All.Where(b => b.Panes.IsEmpty).SelectMany(b => b.Keys).ToArray();
        Assert.Equal(everywhere.Length, everywhere.Distinct().Count());
    }

    [Fact]
    public void Keys_that_run_the_machine_ask_for_it()
    {
        Assert.IsType<TargetRequest.Continue>(Asked("c"));
        Assert.Equal(new TargetRequest.Step(StepKind.Line), Asked("s"));
        Assert.Equal(new TargetRequest.Step(StepKind.LineOver), Asked("n"));
        Assert.Equal(new TargetRequest.Step(StepKind.Instruction), Asked("i"));
        Assert.Equal(new TargetRequest.Step(StepKind.InstructionOver), Asked("I"));
        Assert.Equal(new TargetRequest.Finish(0), Asked("f"));
        Assert.Equal(new TargetRequest.Finish(1), UiSamples.Live(80, 24).Type("uf").Asked.Last());
        Assert.Equal(new TargetRequest.RunTo("arch/x86/kernel/apic/msi.c:31"), UiSamples.Live(80, 24).Type("\tjt").Asked.Last());
        Assert.Equal(new TargetRequest.ToggleBreakpoint("arch/x86/kernel/apic/msi.c:28"), UiSamples.Live(80, 24).Type("\tkkb").Asked.Last());
        Assert.Equal(new TargetRequest.ToggleBreakpoint("*0xffffffff81068b45"), UiSamples.Live(80, 24).Type("\t]jb").Asked.Last());

        static TargetRequest Asked(string keys) => Assert.Single(UiSamples.Live(80, 24).Type(keys).Asked);
    }

    [Fact]
    public void A_key_that_cannot_work_says_why_and_asks_for_nothing()
    {
        foreach (var (screen, key, why) in new[]
        {
            (UiSamples.OfTrace(80, 24), "s", "this is a trace"), (UiSamples.OfTrace(80, 24), "c", "ktrace tui SCENARIO"), (UiSamples.Live(80, 24).Hear(new TargetNews.Running()), "s", "Ctrl-C stops it"),
            (UiSamples.Live(80, 24), "R", "cannot go backwards"), (UiSamples.Live(80, 24), "J", "exact replay"), (UiSamples.Live(80, 24), "d", "m marks"),
            (UiSamples.Live(80, 24).Hear(new TargetNews.Ended("QEMU was killed")), "c", "QEMU was killed"), (UiSamples.Empty(80, 24, isLive: true), "s", "not up yet"),
            (UiSamples.Empty(80, 24, isLive: false), "e", "no hits"),
        })
        {
            screen.Forget().Type(key);
            Assert.Empty(screen.Asked);
            Assert.Contains(why, screen.Screen()[^1], StringComparison.Ordinal);
        }
    }

    [Fact]
    public void A_held_step_key_steps_on_one_at_a_time_up_to_a_bound()
    {
        var screen = UiSamples.Live(80, 24).Type("sn");
        Assert.Equal([new TargetRequest.Step(StepKind.Line)], screen.Asked);
        var stepped = new TargetNews.Stopped(UiSamples.Stop with { Hit = null });
        screen.Forget().Hear(new TargetNews.Running(), stepped);
        Assert.Equal([new TargetRequest.Step(StepKind.LineOver)], screen.Asked.OfType<TargetRequest.Step>());
        screen.Hear(new TargetNews.Running()).Type(new string('s', 100));
        Assert.Equal(Obstacles.StepsAtOnce, screen.State.Session.NextSteps.Length);

        // A breakpoint on the way, Ctrl-C or a failure end the queue.
        Assert.Empty(new UiDriver(screen.State).Hear(new TargetNews.Stopped(UiSamples.Stop)).Asked.OfType<TargetRequest.Step>());
        Assert.Empty(new UiDriver(screen.State).Press(KeyChord.Control('c')).Hear(stepped).Asked.OfType<TargetRequest.Step>());
        Assert.Empty(new UiDriver(screen.State).Hear(new TargetNews.Failed("no", null), stepped).Asked.OfType<TargetRequest.Step>());
    }

    [Fact]
    public void Breakpoints_can_be_set_while_the_guest_runs_freely_but_not_within_a_step()
    {
        var running = UiSamples.Live(80, 24).Hear(new TargetNews.Running());
        Assert.IsType<TargetRequest.ToggleBreakpoint>(Assert.Single(new UiDriver(running.State).Type("b").Asked));
        Assert.Equal(new TargetRequest.Command("tb foo"), Assert.Single(new UiDriver(running.State).Type(":tb foo\n").Asked));
        var stepping = UiSamples.Live(80, 24).Type("s").Hear(new TargetNews.Running()).Forget().Type("b:tb foo\n");
        Assert.Empty(stepping.Asked);
    }

    [Fact]
    public void Next_goes_to_the_next_match_where_a_search_is_active_and_steps_elsewhere()
    {
        var screen = UiSamples.Live(132, 43).Type("/irq_domain\n");
        var first = screen.State.Pane(PaneKind.CallPath).Cursor;
        screen.Forget().Type("n");
        Assert.NotEqual(first, screen.State.Pane(PaneKind.CallPath).Cursor);
        Assert.DoesNotContain(screen.Asked, r => r is TargetRequest.Step);
        screen.Type("N");
        Assert.Equal(first, screen.State.Pane(PaneKind.CallPath).Cursor);
        screen.Forget().Type("\tn");
        Assert.Contains(screen.Asked, r => r is TargetRequest.Step { Kind: StepKind.LineOver });
        screen.Hear(new TargetNews.Stopped(UiSamples.Stop)).Press(KeyChord.Shift(KeyName.Tab)).Forget().Type("\en");
        Assert.Contains(screen.Asked, r => r is TargetRequest.Step { Kind: StepKind.LineOver });
    }

    [Fact]
    public void Ctrl_C_stops_the_guest_or_gives_up_what_is_under_way_and_never_quits()
    {
        var screen = UiSamples.Live(80, 24).Press(KeyChord.Control('c'));
        Assert.Empty(screen.Effects);
        screen.Hear(new TargetNews.Running()).Press(KeyChord.Control('c'));
        Assert.IsType<TargetRequest.Interrupt>(Assert.Single(screen.Asked));
        screen = UiSamples.Empty(80, 24, isLive: true).Hear(new TargetNews.Progress("fetching")).Press(KeyChord.Control('c'));
        Assert.IsType<TargetRequest.Interrupt>(Assert.Single(screen.Asked));
    }

    [Fact]
    public void Quitting_asks_only_where_it_would_end_a_guest()
    {
        var live = UiSamples.Live(80, 24).Type("q");
        Assert.Empty(live.Effects);
        Assert.Contains("end the guest?", live.Screen()[^1], StringComparison.Ordinal);
        Assert.DoesNotContain(live.Type("x").Effects, e => e is UiEffect.Quit);
        Assert.Contains(live.Type("qy").Effects, e => e is UiEffect.Quit);
        Assert.Contains(UiSamples.OfTrace(80, 24).Type("q").Effects, e => e is UiEffect.Quit);
        Assert.Contains(UiSamples.Live(80, 24).Hear(new TargetNews.Ended("powered off")).Type(":q\n").Effects, e => e is UiEffect.Quit);
        var closed = UiSamples.Live(80, 24).Do(new UiEvent.Input(new InputEvent.Closed()));
        Assert.Contains(closed.Effects, e => e is UiEffect.Quit);
    }

    [Fact]
    public void A_run_is_on_the_screen_once_it_has_lasted_and_keys_know_of_it_at_once()
    {
        var screen = UiSamples.Live(132, 43);
        var before = screen.Text();
        screen.Hear(new TargetNews.Running());
        Assert.Equal(before, screen.Text());
        Assert.Contains("Ctrl-C stops it", new UiDriver(screen.State).Type("c").Screen()[^1], StringComparison.Ordinal);
        Assert.IsType<TargetRequest.Interrupt>(Assert.Single(new UiDriver(screen.State).Press(KeyChord.Control('c')).Asked));

        // A step that is over by then was never seen to run; the time of one run says nothing of the next.
        var first = screen.State.HeldBack!.Value;
        screen.Hear(new TargetNews.Stopped(UiSamples.Stop with { Hit = null }), new TargetNews.FrameContents(UiSamples.Frame));
        Assert.Null(screen.State.HeldBack);
        screen.Hear(new TargetNews.Running()).Do(new UiEvent.Lasted(first));
        Assert.DoesNotContain("running", screen.Screen()[0], StringComparison.Ordinal);
        screen.Do(new UiEvent.Lasted(screen.State.HeldBack!.Value));
        Assert.Contains("running", screen.Screen()[0], StringComparison.Ordinal);
        Assert.Contains("Ctrl-C stop", screen.Screen()[^1], StringComparison.Ordinal);
        Assert.Null(screen.State.HeldBack);
    }

    [Fact]
    public void After_a_step_into_another_function_the_old_code_stays_until_the_new_comes_or_for_a_moment()
    {
        var hit = UiSamples.Hit;
        var screen = UiSamples.Live(132, 43);
        var stop = UiSamples.Stop with { Path = hit with { Path = new CallPath([hit.Path.Frames[0] with { Function = "called" }, .. hit.Path.Frames]) }, Hit = null };
        screen.Hear(new TargetNews.Running(), new TargetNews.Stopped(stop));
        Assert.Same(UiSamples.Frame, screen.State.Session.Frame);
        Assert.Null(new UiDriver(screen.State).Do(new UiEvent.Lasted(screen.State.HeldBack!.Value)).State.Session.Frame);
        screen.Hear(new TargetNews.FrameContents(UiSamples.Frame with { Function = "called" }));
        Assert.Null(screen.State.HeldBack);
        Assert.Equal("called", screen.State.Session.Frame!.Function);
    }

    [Fact]
    public void Registers_stand_beside_each_other_and_keys_and_mouse_choose_among_them()
    {
        var screen = UiSamples.Live(200, 50).Type(":pane registers\nz");
        var registers = UiSamples.Stop.Registers;
        var rows = (registers.Length + 3) / 4;
        Assert.Equal("memory of $" + registers[0].Name, Chosen());
        screen.Type("l");
        Assert.Equal("memory of $" + registers[rows].Name, Chosen());
        screen.Type("jlll");
        Assert.Equal("memory of $" + registers[(3 * rows) + 1].Name, Chosen());

        // The last column is the shortest: there the register before is the nearest.
        screen.Type("G");
        Assert.Equal("memory of $" + registers[(3 * rows) - 1].Name, Chosen());
        screen.Type("gh");
        Assert.Equal("memory of $" + registers[2 * rows].Name, Chosen());
        screen.Mouse(MouseAction.Press, 60, 4);
        Assert.Equal("memory of $" + registers[rows + 2].Name, Chosen());
        Assert.StartsWith($" {registers[rows + 2].Name} ", screen.Screen()[4].Split("▸")[1], StringComparison.Ordinal);

        // One column scrolls as other panes do.
        screen = UiSamples.Live(132, 43).Type("5:pane registers\nl");
        Assert.True(screen.State.Pane(PaneKind.Registers) is { Column: 0, Left: > 0 });

        string Chosen() => "memory of " + ((TargetRequest.ReadMemory)new UiDriver(screen.State).Type("\n").Asked.Last()).Address;
    }

    [Theory]
    [InlineData("IFCONFIG", "ifconfig", false)]
    [InlineData("ifconfig", "ifconfig", true)]
    [InlineData("e1000_request_irq", "e1000_request_irq", true)]
    [InlineData("timer_interrupt", "timer_interrupt", true)]
    [InlineData("0.948", "0.948", true)]
    public void Hits_are_searched_by_each_of_their_parts(string search, string part, bool isThere)
    {
        var screen = UiSamples.OfTrace(132, 43).Type($"G/{search}\n");
        var hit = screen.State.Timeline[screen.State.Pane(PaneKind.Hits).Cursor];
        Assert.Equal(isThere, $"{hit.Place} {hit.Task} {hit.Where} {hit.Path} {hit.Arguments} {hit.Clock}".Contains(part, StringComparison.Ordinal) && screen.State.Message?.IsWarning != true);
    }

    [Fact]
    public void What_is_switched_off_is_remembered_as_such()
    {
        var rows = UiSamples.Breakpoints.Rows;
        var screen = UiSamples.Live(80, 24).Hear(new TargetNews.Breakpoints([rows[0] with { IsEnabled = false }, rows[1] with { IsEnabled = true }, rows[2] with { IsEnabled = false }]));
        Assert.Equal(["break x86_vector_msi_compose_msg", "break e1000_request_msix if irq >= 24", "trace request_threaded_irq"], screen.State.Remembered.Breakpoints.ToArray());
        Assert.Equal(["break x86_vector_msi_compose_msg", "trace request_threaded_irq"], screen.State.Remembered.Disabled.ToArray());
        Assert.IsType<UiEffect.Remember>(Assert.Single(screen.Effects));
        Assert.Equal("break e1000_request_msix if irq >= 24", Assert.Single(screen.Hear(UiSamples.Breakpoints).State.Remembered.Disabled));
    }

    [Fact]
    public void Traces_that_differ_name_the_tracepoints()
    {
        var trace = UiSamples.Recorded;
        var other = trace with { Hits = [trace.Hits[0] with { Path = trace.Hits[^1].Path }, .. trace.Hits.Skip(2), trace.Hits[1] with { Sequence = 100 }] };
        var text = UiSamples.OfTrace(132, 43).Hear(new TargetNews.TracesCompared("a", "b", TraceDiff.Compare(trace, other), trace.Tracepoints, trace.Tracepoints)).Type("z").Text();
        var place = trace.Tracepoints.Place(trace.Hits[1].Tracepoint);
        Assert.Contains($"- only in A: hit 2  {place}", text, StringComparison.Ordinal);
        Assert.Contains($"+ only in B: hit 100  {place}", text, StringComparison.Ordinal);
        Assert.Matches($@"OTHER PATH +ONLY IN A +ONLY IN B +TRACEPOINT\n +1 +1 +{place}", text);
    }

    [Fact]
    public void Marking_two_hits_and_comparing_them()
    {
        var screen = UiSamples.OfTrace(80, 24).Type("jmjjjm");
        Assert.Equal([2L, 5L], screen.State.Timeline.Marks.ToArray());
        screen.Forget().Type("d");
        Assert.Equal(new TargetRequest.CompareHits(2, 5), Assert.Single(screen.Asked));
        screen.Hear(new TargetNews.HitsCompared(UiSamples.Recorded.Hits[1], UiSamples.Recorded.Hits[4]));
        Assert.Equal(PaneKind.Diff, screen.State.Focus);
        Assert.Contains("hit 2 and hit 5", screen.Text(), StringComparison.Ordinal);
    }

    [Fact]
    public void In_a_trace_the_call_path_follows_the_chosen_hit_and_the_source_the_chosen_frame()
    {
        var screen = UiSamples.OfTrace(80, 24).Type("j");
        Assert.Equal(new TargetRequest.ShowHit(2), Assert.Single(screen.Asked));
        screen.Hear(new TargetNews.HitShown(UiSamples.Recorded.Hits[1], null, UiSamples.Recorded.Tracepoints)).Forget().Type("\tjjj");
        Assert.Equal(new TargetRequest.SelectFrame(1), screen.Asked.First());
        Assert.True(screen.State.ChosenFrame >= 1);
    }

    [Fact]
    public void A_frame_of_a_live_stop_is_chosen_by_moving_and_by_u()
    {
        var screen = UiSamples.Live(80, 24).Type("jj");
        Assert.Equal([new TargetRequest.SelectFrame(1)], screen.Asked);
        screen.Type("u");
        Assert.Equal(new TargetRequest.SelectFrame(2), screen.Asked.Last());
        screen.Type("UUUU");
        Assert.Equal(0, screen.State.ChosenFrame);
        Assert.Contains("innermost", screen.Screen()[^1], StringComparison.Ordinal);
    }

    [Fact]
    public void Typing_goes_to_the_guest_until_Ctrl_bracket_or_two_escapes()
    {
        var screen = UiSamples.Live(80, 24).Type("6i");
        Assert.True(screen.State.IsTyping);
        screen.Forget().Type("q:\n\t").Press(KeyChord.Control('c')).Press(KeyName.Up);
        Assert.Equal(["q", ":", "\r", "\t", "\u0003", "\e[A"], Typed(screen));
        screen.Forget().Type("\ex");
        Assert.Equal(["\ex"], Typed(screen));
        Assert.False(screen.Type("\e\e").State.IsTyping);
        Assert.Empty(screen.Forget().Type("i").Asked);
        Assert.False(screen.Press(KeyChord.Control(']')).State.IsTyping);
        screen.Type("i").Forget().Do(new UiEvent.Input(new InputEvent.Paste("ls\ncat /proc/interrupts\n")));
        Assert.Equal(["ls\ncat /proc/interrupts\n"], Typed(screen));

        static IEnumerable<string> Typed(UiDriver screen) => screen.Asked.OfType<TargetRequest.TypeToConsole>().Select(t => t.Text);
    }

    [Fact]
    public void Pasted_text_is_never_taken_for_keys()
    {
        var screen = UiSamples.Live(80, 24).Do(new UiEvent.Input(new InputEvent.Paste("cq\ny")));
        Assert.Empty(screen.Effects);
        screen.Type(":").Do(new UiEvent.Input(new InputEvent.Paste("break foo\nquit\n")));
        Assert.Equal("break foo", screen.State.Prompt!.Text);
    }

    private static IEnumerable<Func<UiDriver>> States()
    {
        // Rows above and below, something scrolled, something open, everything that a key could need.
        yield return () => new UiDriver(Able(UiSamples.Live(80, 24).Type("z").State));
        yield return () => new UiDriver(Able(UiSamples.Live(80, 24).State with { Help = null }));
        yield return () => UiSamples.Live(80, 24).Hear(new TargetNews.Running());
        yield return () => UiSamples.OfTrace(80, 24).Type("mjm");

        static UiState Able(UiState state) => state with
        {
            Abilities = state.Abilities with { CanReverse = true, CanJump = true },
            Timeline = state.Timeline.ToggleMark(1).ToggleMark(2),
            Console = state.Console.Append(string.Concat(Enumerable.Range(0, 100).Select(i => $"line {i}\n"))),
            Variables = state.Variables.WithWatches(["jiffies_64"]),
        };
    }

    private static bool DoesSomething(UiDriver screen, PaneKind pane, KeyBinding binding, KeyChord key)
    {
        foreach (var place in new[] { 0, 1, 3, int.MaxValue })
        {
            var state = screen.State.Raise(pane, focus: true);
            var start = new UiDriver(state.WithPane(pane, state.Pane(pane) with { Cursor = place, Left = 8, Follows = false, Search = binding.Command == UiCommand.SearchPrevious ? "0" : null }));
            start.Do(new UiEvent.Tick());
            if (Obstacles.Of(start.State, binding) is not null)
            {
                continue;
            }

            var (before, pane0) = (start.Text(), start.State.Pane(pane));
            start.Press(key);
            if (start.Effects.Count > 0 || start.Text() != before || start.State.Pane(pane) != pane0)
            {
                return true;
            }
        }

        return false;
    }
}
