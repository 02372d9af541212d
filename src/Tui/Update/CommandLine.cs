// What follows a colon. gdb's commands keep gdb's meaning: those that resume the machine or choose a frame become requests of their own, so that the screen knows what is under way; the
// rest goes to the target as it was written. The screen's own commands have names that gdb does not have; `display` adds to the variables, which are shown at every stop, and
// `watch` stays gdb's: it stops the machine when memory changes.
using System.Collections.Immutable;
using System.Globalization;
using KTrace.Debugger.Stepping;
using KTrace.Tui.Commands;
using KTrace.Tui.Panes;
using KTrace.Tui.State;
using KTrace.Tui.Targets;
using KTrace.Tui.Views;

namespace KTrace.Tui.Update;

/// <summary>Runs a line of the command line, and completes what can be known without a target.</summary>
public static class CommandLine
{
    private static readonly string[] Options = ["bytes", "args", "lines", "allirqs"];

    /// <summary>The screen's own commands, in the order in which help lists them.</summary>
    public static ImmutableArray<CommandEntry> Own { get; } =
    [
        new("hit", [], "N", "look at a hit of the timeline", "hit 12"),
        new("filter", [], "[WORDS]", "show only hits with these words; without any: all (&)", "filter msi task:ifconfig"),
        new("mark", [], "N", "mark a hit for comparing (m)", "mark 12"),
        new("diff", [], "FILE | N M | (nothing)", "compare with another trace, two hits, or the marked hits (d)", "diff 2 5"),
        new("jump", [], "N", "bring the machine to a hit's moment, in an exact replay (J)", "jump 12"),
        new("mem", ["memory"], "EXPR", "show memory in the memory pane", "mem $rsp"),
        new("irqs", [], "", "read the interrupt table", "irqs"),
        new("w", ["write", "save"], "FILE", "write the session's hits as a trace (S)", "w boot.ktrace"),
        new("export", [], "FILE [N]", "write the hits, or one, for other programs: .json, .txt, .gdb, .folded (e)", "export path.json"),
        new("source", [], "DIR", "the kernel's source tree", "source ~/linux-6.1"),
        new("pane", [], "NAME", "go to a pane", "pane registers"),
        new("layout", [], "N|NAME", "choose a layout (1 to 6); the same again resets its borders", "layout source"),
        new("set", [], "[no]OPTION", "bytes (of instructions), args (below frames), lines (between instructions), allirqs; set var and set $reg are gdb's", "set bytes"),
        new("zoom", [], "", "give the pane the whole screen (z)", "zoom"),
        new("keys", [], "", "all keys (?)", "keys"),
    ];

    internal static void Run(Turn turn, string text)
    {
        var end = text.IndexOfAny([' ', '/']) is var blank and > 0 ? blank : text.Length;
        var (word, rest) = (text[..end], text[end..].Trim());
        if (long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var row))
        {
            Movement.MoveTo(turn, turn.State.Focus, (int)Math.Clamp(row - 1, 0, int.MaxValue));
        }
        else if (Own.FirstOrDefault(c => c.Name == word || c.Aliases.Contains(word)) is { } own && !(own.Name == "set" && !IsOption(rest)))
        {
            RunOwn(turn, own, rest);
        }
        else if (CommandTable.Find(word, out var others) is { } entry)
        {
            RunCommand(turn, entry, text, rest);
        }
        else
        {
            turn.Say(new Message(
                others.Count == 0 ? $"there is no command '{word}'" : $"'{word}' may be {string.Join(", ", others.Select(o => o.Name))}", ":help lists them all", IsWarning: true));
        }
    }

    /// <summary>Words that can stand at the end of a text; null: only the target knows.</summary>
    internal static (int Start, ImmutableArray<string> Words)? Complete(string text)
    {
        var start = text.LastIndexOf(' ') + 1;
        var part = text[start..];
        var first = text.TrimStart();
        IEnumerable<string>? words = first.IndexOf(' ', StringComparison.Ordinal) < 0
            ? Own.Select(c => c.Name).Concat(CommandTable.All.Select(c => c.Name))
            : first.Split(' ', 2)[0] switch
            {
                "pane" => PaneCatalog.Names,
                "layout" => Layouts.All(isLive: true).Select(l => l.Name),
                "set" when part.Length > 0 && part[0] != '$' => Options.Concat(Options.Select(o => "no" + o)).Append("var"),
                "help" or "h" => Own.Select(c => c.Name).Concat(CommandTable.All.Select(c => c.Name)),
                "info" or "i" => CommandTable.Find("info", out _)!.Meaning.Split(", "),
                "filter" => HitFilterText.Fields.Select(f => f + ":"),
                _ => null,
            };
        // The pane "call path" has a blank in its name.
        return words is null ? null : (start, [.. words.Where(w => w.StartsWith(part, StringComparison.Ordinal)).Distinct().Order(StringComparer.Ordinal)]);
    }

    private static void RunOwn(Turn turn, CommandEntry command, string rest)
    {
        var state = turn.State;
        long? number = long.TryParse(rest, NumberStyles.None, CultureInfo.InvariantCulture, out var n) ? n : null;
        switch (command.Name)
        {
            case "hit" when number is { } hit:
                turn.Ask(new TargetRequest.ShowHit(hit));
                if (state.Timeline.RowOf(hit) is >= 0 and var row)
                {
                    turn.State = state.WithPane(PaneKind.Hits, state.Pane(PaneKind.Hits) with { Cursor = row, Follows = false });
                }

                break;
            case "filter":
                PromptKeys.Filter(turn, rest);
                break;
            case "mark" when number is { } marked:
                KeyCommands.Mark(turn, marked);
                break;
            case "diff":
                Diff(turn, rest);
                break;
            case "jump" when number is { } moment:
                Unless(turn, Needs.Jump, "jump", () => turn.Ask(new TargetRequest.JumpToHit(moment)));
                break;
            case "mem" when rest.Length > 0:
                Unless(turn, Needs.Live | Needs.Stopped, "mem", () => KeyCommands.ReadMemory(turn, rest));
                break;
            case "irqs":
                turn.Ask(new TargetRequest.ReadInterrupts());
                turn.Focus(PaneKind.Interrupts);
                break;
            case "w" when rest.Length > 0:
                turn.Ask(new TargetRequest.Save(rest));
                break;
            case "export" when rest.Length > 0:
                var parts = rest.Split(' ', StringSplitOptions.RemoveEmptyEntries);
                var isOne = parts.Length > 1 && long.TryParse(parts[^1].TrimStart('#'), NumberStyles.None, CultureInfo.InvariantCulture, out n);
                turn.Ask(new TargetRequest.Export(isOne ? string.Join(' ', parts[..^1]) : rest, isOne ? n : null));
                break;
            case "source" when rest.Length > 0:
                turn.Ask(new TargetRequest.UseSource(rest));
                break;
            case "pane" when PaneCatalog.Find(rest) is { } pane:
                turn.Focus(pane.Kind);
                break;
            case "layout" when Layouts.All(state.Abilities.IsLive).FirstOrDefault(l => l.Number == number || (rest.Length > 0 && l.Name.StartsWith(rest, StringComparison.Ordinal))) is { } layout:
                if (layout.Number == state.Remembered.Layout)
                {
                    var prefix = layout.Number.ToString(CultureInfo.InvariantCulture);
                    turn.Remember(state.Remembered with { Splits = state.Remembered.Splits.RemoveRange(state.Remembered.Splits.Keys.Where(k => k.StartsWith(prefix, StringComparison.Ordinal))) });
                }

                ScreenKeys.Choose(turn, layout.Number);
                break;
            case "set":
                Set(turn, rest);
                break;
            case "zoom":
                ScreenKeys.Run(turn, UiCommand.Zoom);
                break;
            case "keys":
                turn.State = state with { Help = 0 };
                break;
            default:
                turn.Say(new Message($":{command.Name} {command.Arguments}: {command.Meaning}", $"for example :{command.Example}", IsWarning: true));
                break;
        }
    }

    private static void RunCommand(Turn turn, CommandEntry entry, string text, string rest)
    {
        var state = turn.State;
        int? number = rest.Length == 0 ? 1 : int.TryParse(rest, NumberStyles.None, CultureInfo.InvariantCulture, out var n) && n > 0 ? n : null;
        StepKind? step = entry.Name switch
        {
            "step" => StepKind.Line,
            "next" => StepKind.LineOver,
            "stepi" => StepKind.Instruction,
            "nexti" => StepKind.InstructionOver,
            _ => null,
        };
        switch (entry.Name)
        {
            case "quit":
                ScreenKeys.Quit(turn);
                break;
            case "help":
                turn.Print(Help(rest, Math.Max(40, turn.WidthOf(Arrangement.Of(state).Find(PaneKind.Output)))));
                turn.Focus(PaneKind.Output);
                break;
            case "detach":
                Unless(turn, Needs.Live, "detach", () =>
                {
                    turn.Ask(new TargetRequest.Detach());
                });
                break;
            case "console":
                Unless(turn, Needs.Live | Needs.Console, "console", () => turn.Ask(new TargetRequest.TypeToConsole(rest + "\n")));
                break;
            case "display":
                Unless(turn, Needs.Live, "display", () => Display(turn, rest));
                break;
            case "undisplay":
                Undisplay(turn, rest);
                break;
            case "frame" when number is not null || rest == "0":
                KeyCommands.Frame(turn, rest.Length == 0 ? state.ChosenFrame : rest == "0" ? 0 : number!.Value);
                break;
            case "up" or "down" when number is { } by:
                KeyCommands.Frame(turn, state.ChosenFrame + (entry.Name == "up" ? by : -by));
                break;
            case var _ when !state.Abilities.IsLive:
                turn.Say(Obstacles.Of(state, Needs.Live, entry.Name)!);
                break;
            case var _ when step is { } kind && number is { } count:
                Unless(turn, Needs.Live | Needs.Steps, entry.Name, () => KeyCommands.Step(turn, kind, count));
                break;

            // A machine that is still coming up gets them when it is there; one that runs would let them wait for who knows how long.
            case "break" or "tbreak" or "hbreak" or "thbreak" or "trace" or "delete" or "enable" or "disable" or "condition" or "ignore" when state.Session.Run == RunState.Running && rest.Length > 0:
                Unless(turn, Needs.Breakpoints, entry.Name, () => turn.Ask(new TargetRequest.Command(text)));
                break;
            case var _ when state.Session.Run is RunState.Running or RunState.Ended:
                turn.Say(Obstacles.Of(state, Needs.Live | Needs.Stopped, entry.Name)!);
                break;
            case "continue" when rest.Length == 0:
                turn.Ask(new TargetRequest.Continue());
                break;
            case "finish" when rest.Length == 0:
                turn.Ask(new TargetRequest.Finish(state.ChosenFrame));
                break;
            case "advance" when rest.Length > 0:
                turn.Ask(new TargetRequest.RunTo(rest));
                break;
            case "reverse-continue" or "reverse-stepi":
                Unless(turn, Needs.Reverse, entry.Name, () => turn.Ask(new TargetRequest.Reverse(entry.Name == "reverse-stepi")));
                break;
            case "cpu" when rest.Length > 0 && int.TryParse(rest, NumberStyles.None, CultureInfo.InvariantCulture, out var cpu):
                turn.Ask(new TargetRequest.SelectCpu(cpu));
                break;
            case "disassemble" when rest.Length > 0:
                KeyCommands.Disassemble(turn, rest);
                break;
            default:
                turn.Ask(new TargetRequest.Command(text));
                break;
        }
    }

    /// <summary>Among the variables, which are shown at every stop. A format is for commands that print lines: the panes have their own.</summary>
    private static void Display(Turn turn, string rest)
    {
        var expression = rest.StartsWith('/') ? rest[(rest.IndexOf(' ', StringComparison.Ordinal) is var blank and > 0 ? blank : rest.Length)..].Trim() : rest;
        if (expression.Length > 0)
        {
            VariableKeys.AddWatch(turn, expression);
        }
        else
        {
            turn.Focus(PaneKind.Variables);
        }
    }

    private static void Undisplay(Turn turn, string rest)
    {
        var watches = turn.State.Variables.Watches;
        var at = int.TryParse(rest, NumberStyles.None, CultureInfo.InvariantCulture, out var position) ? position - 1 : watches.IndexOf(rest);
        if (rest.Length == 0)
        {
            VariableKeys.SetWatches(turn, []);
        }
        else if (at >= 0 && at < watches.Length)
        {
            VariableKeys.SetWatches(turn, watches.RemoveAt(at));
        }
        else
        {
            turn.Say($"{rest} is not watched");
        }
    }

    private static void Diff(Turn turn, string rest)
    {
        var words = rest.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        long[] numbers = [.. words.Select(w => long.TryParse(w.TrimStart('#'), NumberStyles.None, CultureInfo.InvariantCulture, out var n) ? n : -1).Where(n => n >= 0)];
        if (words.Length == 0)
        {
            Unless(turn, Needs.TwoMarks, "diff", () => KeyCommands.Run(turn, UiCommand.DiffMarked));
        }
        else
        {
            turn.Ask(words.Length == 2 && numbers.Length == 2 ? new TargetRequest.CompareHits(numbers[0], numbers[1]) : new TargetRequest.CompareWith(rest));
        }
    }

    private static void Set(Turn turn, string option)
    {
        var isOn = !option.StartsWith("no", StringComparison.Ordinal);
        var options = turn.State.Options;
        turn.State = turn.State with
        {
            Options = (isOn ? option : option[2..]) switch
            {
                "bytes" => options with { Bytes = isOn },
                "args" => options with { Arguments = isOn },
                "lines" => options with { Lines = isOn },
                _ => options with { AllInterrupts = isOn },
            },
        };
    }

    private static bool IsOption(string text) => Options.Contains(text) || (text.StartsWith("no", StringComparison.Ordinal) && Options.Contains(text[2..]));

    private static void Unless(Turn turn, Needs needs, string what, Action act)
    {
        if (Obstacles.Of(turn.State, needs, what) is { } obstacle)
        {
            turn.Say(obstacle);
        }
        else
        {
            act();
        }
    }

    private static IEnumerable<TextLine> Help(string topic, int width)
    {
        if (topic.Length > 0 && Own.FirstOrDefault(c => c.Name == topic || c.Aliases.Contains(topic)) is { } own && topic != "set")
        {
            return
            [
                new TextLine().Add($"{own.Name} {own.Arguments}", TextRole.Heading), new TextLine().PadTo(2).Add(own.Meaning), new TextLine().PadTo(2).Add($"for example: {own.Example}"),
            ];
        }

        return topic.Length > 0
            ? new CommandHelpView(topic).Lines(width)
            : new CommandHelpView(null).Lines(width).SkipLast(1).Append(new TextLine()).Append(new TextLine().Add("of this screen", TextRole.Heading))
                .Concat(Own.SelectMany(c => new TextLine().Add(c.Name, TextRole.Function).PadTo(24).Wrap(c.Meaning, TextRole.Plain, width)));
    }
}
