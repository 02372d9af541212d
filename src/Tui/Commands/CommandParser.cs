using System.Globalization;
using KTrace.Debugger.Breakpoints;
using KTrace.Debugger.Stepping;
using KTrace.Rsp.Commands;

namespace KTrace.Tui.Commands;

/// <summary>Reads a line as gdb's users write it.</summary>
public static class CommandParser
{
    /// <exception cref="CommandSyntaxException">It is no command, or has arguments that the command does not take.</exception>
    public static DebuggerCommand Parse(string line)
    {
        var text = line.Trim();
        if (text.Length == 0 || text[0] == '#')
        {
            return new DebuggerCommand.Nothing();
        }

        // `x/8gx` and `p/x` need no space.
        var end = 0;
        while (end < text.Length && !char.IsWhiteSpace(text[end]) && text[end] != '/')
        {
            end++;
        }

        var (word, rest) = (text[..end], text[end..].Trim());
        return CommandTable.Find(word, out var others) is { } entry ? Parse(entry, rest) : throw Unknown(word, others);
    }

    private static DebuggerCommand Parse(CommandEntry entry, string rest) => entry.Name switch
    {
        "break" => new DebuggerCommand.Break(rest.Length == 0 ? null : rest, new BreakpointOptions()),
        "tbreak" => new DebuggerCommand.Break(Needed(entry, rest), new BreakpointOptions(IsTemporary: true)),
        "hbreak" => new DebuggerCommand.Break(Needed(entry, rest), new BreakpointOptions(BreakpointKind.Hardware)),
        "thbreak" => new DebuggerCommand.Break(Needed(entry, rest), new BreakpointOptions(BreakpointKind.Hardware, IsTemporary: true)),
        "trace" => new DebuggerCommand.Break(Needed(entry, rest), new BreakpointOptions(IsTracepoint: true)),
        "watch" => new DebuggerCommand.Watch(Needed(entry, rest), BreakpointKind.WriteWatchpoint),
        "rwatch" => new DebuggerCommand.Watch(Needed(entry, rest), BreakpointKind.ReadWatchpoint),
        "awatch" => new DebuggerCommand.Watch(Needed(entry, rest), BreakpointKind.AccessWatchpoint),
        "delete" => new DebuggerCommand.Delete(Numbers(entry, rest)),
        "enable" => new DebuggerCommand.Enable(Numbers(entry, rest), true),
        "disable" => new DebuggerCommand.Enable(Numbers(entry, rest), false),
        "condition" => Condition(entry, rest),
        "ignore" => Ignore(entry, rest),
        "continue" => new DebuggerCommand.Continue(Count(entry, rest)),
        "step" => new DebuggerCommand.Step(StepKind.Line, (int)Count(entry, rest)),
        "next" => new DebuggerCommand.Step(StepKind.LineOver, (int)Count(entry, rest)),
        "stepi" => new DebuggerCommand.Step(StepKind.Instruction, (int)Count(entry, rest)),
        "nexti" => new DebuggerCommand.Step(StepKind.InstructionOver, (int)Count(entry, rest)),
        "finish" => Alone(entry, rest, new DebuggerCommand.Finish()),
        "until" => new DebuggerCommand.Until(rest.Length == 0 ? null : rest),
        "advance" => new DebuggerCommand.Advance(Needed(entry, rest)),
        "reverse-continue" => Alone(entry, rest, new DebuggerCommand.Reverse(false)),
        "reverse-stepi" => Alone(entry, rest, new DebuggerCommand.Reverse(true)),
        "backtrace" => Backtrace(entry, rest),
        "frame" => new DebuggerCommand.Frame(rest.Length == 0 ? null : (int)Number(entry, rest), false),
        "up" => new DebuggerCommand.Frame((int)Count(entry, rest), true),
        "down" => new DebuggerCommand.Frame(-(int)Count(entry, rest), true),
        "cpu" => new DebuggerCommand.SelectCpu(rest.Length == 0 ? null : (int)Number(entry, rest)),
        "print" => Print(entry, rest),
        "display" => Display(entry, rest),
        "undisplay" => new DebuggerCommand.Undisplay(rest),
        "set" => Set(entry, rest),
        "x" => Examine(entry, rest),
        "disassemble" => new DebuggerCommand.Disassemble(rest.Length == 0 ? null : rest),
        "list" => new DebuggerCommand.List(rest.Length == 0 ? null : rest),
        "ptype" => new DebuggerCommand.Type(Needed(entry, rest)),
        "info" => Info(entry, rest),
        "monitor" => new DebuggerCommand.Monitor(Needed(entry, rest)),
        "console" => new DebuggerCommand.Send(rest),
        "detach" => Alone(entry, rest, new DebuggerCommand.Detach()),
        "quit" => new DebuggerCommand.Quit(),
        _ => new DebuggerCommand.Help(rest.Length == 0 ? null : rest),
    };

    private static DebuggerCommand.Condition Condition(CommandEntry entry, string rest)
    {
        var (number, expression) = Split(rest);
        return new DebuggerCommand.Condition((int)Number(entry, number), expression.Length == 0 ? null : expression);
    }

    private static DebuggerCommand.Ignore Ignore(CommandEntry entry, string rest)
    {
        var (number, count) = Split(rest);
        return new DebuggerCommand.Ignore((int)Number(entry, number), Number(entry, count));
    }

    private static DebuggerCommand.Backtrace Backtrace(CommandEntry entry, string rest)
    {
        var words = rest.Split(' ', StringSplitOptions.RemoveEmptyEntries).ToList();
        var isFull = words.Remove("full") | words.Remove("-full");
        return new DebuggerCommand.Backtrace(words.Count == 0 ? null : (int)Number(entry, string.Join(' ', words)), isFull);
    }

    private static DebuggerCommand.Print Print(CommandEntry entry, string rest)
    {
        if (!rest.StartsWith('/'))
        {
            return new DebuggerCommand.Print(Needed(entry, rest), null);
        }

        var (format, expression) = Split(rest[1..]);
        return format is [var letter] && "xduotcsa".Contains(letter, StringComparison.Ordinal)
            ? new DebuggerCommand.Print(Needed(entry, expression), letter)
            : throw new CommandSyntaxException($"print/{format}: there is no such format", "one of x d u o t c s a, as in p/x jiffies_64");
    }

    /// <summary>With a letter of print's it is a print; with a size, a count, s or i it is memory, as x shows it.</summary>
    private static DebuggerCommand.Display Display(CommandEntry entry, string rest)
    {
        if (rest.Length == 0)
        {
            return new DebuggerCommand.Display(null, "");
        }

        var isMemory = rest[0] == '/' && Split(rest).First[1..] is var letters && (letters.Length != 1 || letters is "s" or "i" or "b" or "h" or "w" or "g");
        return isMemory && Split(rest).Behind.Length == 0 ? throw Usage(entry)
            : new DebuggerCommand.Display(isMemory ? Examine(entry, rest) : Print(entry, rest), rest);
    }

    private static DebuggerCommand.Set Set(CommandEntry entry, string rest)
    {
        var (word, behind) = Split(rest);
        rest = word is "var" or "variable" ? behind : rest;
        // The first = that is not part of ==, <=, >=, !=: what stands before it is an lvalue, so none of those can.
        var equals = rest.IndexOf('=', StringComparison.Ordinal);
        return equals > 0 && equals < rest.Length - 1
            ? new DebuggerCommand.Set(rest[..equals].Trim(), rest[(equals + 1)..].Trim())
            : throw Usage(entry);
    }

    private static DebuggerCommand.Examine Examine(CommandEntry entry, string rest)
    {
        var (count, size, format) = (1, 0, 'x');
        if (rest.StartsWith('/'))
        {
            var (letters, address) = Split(rest[1..]);
            var digits = letters.TakeWhile(char.IsAsciiDigit).Count();
            count = digits == 0 ? 1 : (int)Math.Clamp(Number(entry, letters[..digits]), 1, 1 << 16);
            foreach (var letter in letters[digits..])
            {
                size = letter switch { 'b' => 1, 'h' => 2, 'w' => 4, 'g' => 8, _ => size };
                format = "xduoacsi".Contains(letter, StringComparison.Ordinal) ? letter
                    : "bhwg".Contains(letter, StringComparison.Ordinal) ? format
                    : throw new CommandSyntaxException($"x/{letters}: '{letter}' is no size (b h w g) and no format (x d u o a c s i)", "for example: x/8gx $rsp");
            }

            rest = address;
        }

        return new DebuggerCommand.Examine(rest, count, size, format);
    }

    private static DebuggerCommand.Info Info(CommandEntry entry, string rest)
    {
        var (topic, argument) = Split(Needed(entry, rest));
        return InfoTopics.Find(topic) is { } name
            ? new DebuggerCommand.Info(name, argument)
            : throw new CommandSyntaxException($"info {topic}: there is no such topic", "one of " + string.Join(", ", InfoTopics.All.Select(t => t.Name)));
    }

    private static string Needed(CommandEntry entry, string rest) => rest.Length > 0 ? rest : throw Usage(entry);

    private static DebuggerCommand Alone(CommandEntry entry, string rest, DebuggerCommand command) => rest.Length == 0 ? command : throw Usage(entry);

    private static List<int> Numbers(CommandEntry entry, string rest) =>
        [.. rest.Split([' ', ','], StringSplitOptions.RemoveEmptyEntries).Where(w => w != "breakpoints").Select(w => (int)Number(entry, w))];

    private static long Count(CommandEntry entry, string rest) => rest.Length == 0 ? 1 : Math.Max(1, Number(entry, rest));

    private static long Number(CommandEntry entry, string text) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : throw Usage(entry);

    private static (string First, string Behind) Split(string text)
    {
        var space = text.IndexOf(' ', StringComparison.Ordinal);
        return space < 0 ? (text, "") : (text[..space], text[(space + 1)..].Trim());
    }

    private static CommandSyntaxException Usage(CommandEntry entry) => new($"{entry.Name} {entry.Arguments}: {entry.Meaning}", "for example: " + entry.Example);

    private static CommandSyntaxException Unknown(string word, IReadOnlyList<CommandEntry> others) => others.Count == 0
        ? new CommandSyntaxException($"there is no command '{word}'", "help lists them")
        : new CommandSyntaxException($"'{word}' may be {string.Join(", ", others.Select(o => o.Name))}", "a letter more tells which");
}

/// <summary>What <c>info</c> knows.</summary>
public static class InfoTopics
{
    public static IReadOnlyList<(string Name, string Aliases)> All { get; } =
    [
        ("breakpoints", "b break watchpoints"), ("display", ""), ("cpus", "threads thread cpu"), ("registers", "r reg all-registers"), ("args", "a arguments"), ("locals", "lo"), ("frame", "f"),
        ("modules", "m lsmod sharedlibrary files"), ("source", "line"), ("symbol", "sym"), ("phase", "target"), ("irq", "irqs interrupts"), ("lapic", "apic"), ("ioapic", ""), ("pic", ""),
    ];

    /// <summary>The topic that a word means: its name, one of its other names, or a beginning that no other has.</summary>
    public static string? Find(string word)
    {
        foreach (var (name, aliases) in All)
        {
            if (name == word || aliases.Split(' ').Contains(word))
            {
                return name;
            }
        }

        var beginning = All.Where(t => t.Name.StartsWith(word, StringComparison.Ordinal)).ToList();
        return beginning.Count == 1 ? beginning[0].Name : null;
    }
}
