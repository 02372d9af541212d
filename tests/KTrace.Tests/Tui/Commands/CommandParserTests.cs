using KTrace.Debugger.Breakpoints;
using KTrace.Debugger.Stepping;
using KTrace.Rsp.Commands;
using KTrace.Tui.Commands;

namespace KTrace.Tests.Tui.Commands;

/// <summary>Lines as gdb's users write them.</summary>
public sealed class CommandParserTests
{
    public static TheoryData<string, DebuggerCommand> Lines => new()
    {
        { "", new DebuggerCommand.Nothing() },
        { "  # remark", new DebuggerCommand.Nothing() },
        { "b", new DebuggerCommand.Break(null, new BreakpointOptions()) },
        { "b request_threaded_irq if irq >= 24", new DebuggerCommand.Break("request_threaded_irq if irq >= 24", new BreakpointOptions()) },
        { "break *0xffffffff81000000", new DebuggerCommand.Break("*0xffffffff81000000", new BreakpointOptions()) },
        { "tbreak start_kernel", new DebuggerCommand.Break("start_kernel", new BreakpointOptions(IsTemporary: true)) },
        { "hb f", new DebuggerCommand.Break("f", new BreakpointOptions(BreakpointKind.Hardware)) },
        { "thb f", new DebuggerCommand.Break("f", new BreakpointOptions(BreakpointKind.Hardware, IsTemporary: true)) },
        { "trace f", new DebuggerCommand.Break("f", new BreakpointOptions(IsTracepoint: true)) },
        { "watch jiffies_64", new DebuggerCommand.Watch("jiffies_64", BreakpointKind.WriteWatchpoint) },
        { "rw a->b", new DebuggerCommand.Watch("a->b", BreakpointKind.ReadWatchpoint) },
        { "awatch *(int *)0x10", new DebuggerCommand.Watch("*(int *)0x10", BreakpointKind.AccessWatchpoint) },
        { "condition 2 a == b", new DebuggerCommand.Condition(2, "a == b") },
        { "condition 2", new DebuggerCommand.Condition(2, null) },
        { "ignore 3 10", new DebuggerCommand.Ignore(3, 10) },
        { "c", new DebuggerCommand.Continue(1) },
        { "continue 5", new DebuggerCommand.Continue(5) },
        { "s", new DebuggerCommand.Step(StepKind.Line, 1) },
        { "n 3", new DebuggerCommand.Step(StepKind.LineOver, 3) },
        { "si", new DebuggerCommand.Step(StepKind.Instruction, 1) },
        { "nexti 2", new DebuggerCommand.Step(StepKind.InstructionOver, 2) },
        { "fin", new DebuggerCommand.Finish() },
        { "u", new DebuggerCommand.Until(null) },
        { "until file.c:12", new DebuggerCommand.Until("file.c:12") },
        { "adv f", new DebuggerCommand.Advance("f") },
        { "rc", new DebuggerCommand.Reverse(false) },
        { "rsi", new DebuggerCommand.Reverse(true) },
        { "bt", new DebuggerCommand.Backtrace(null, false) },
        { "bt 3 full", new DebuggerCommand.Backtrace(3, true) },
        { "where full", new DebuggerCommand.Backtrace(null, true) },
        { "f 2", new DebuggerCommand.Frame(2, false) },
        { "up", new DebuggerCommand.Frame(1, true) },
        { "down 2", new DebuggerCommand.Frame(-2, true) },
        { "thread 1", new DebuggerCommand.SelectCpu(1) },
        { "p a->b[3]", new DebuggerCommand.Print("a->b[3]", null) },
        { "p/x jiffies_64", new DebuggerCommand.Print("jiffies_64", 'x') },
        { "print /d $rax", new DebuggerCommand.Print("$rax", 'd') },
        { "set $rax = 1", new DebuggerCommand.Set("$rax", "1") },
        { "set var a->b=c == d", new DebuggerCommand.Set("a->b", "c == d") },
        { "x/8gx $rsp", new DebuggerCommand.Examine("$rsp", 8, 8, 'x') },
        { "x /3i $pc", new DebuggerCommand.Examine("$pc", 3, 0, 'i') },
        { "x 0x1000", new DebuggerCommand.Examine("0x1000", 1, 0, 'x') },
        { "x/s name", new DebuggerCommand.Examine("name", 1, 0, 's') },
        { "disas", new DebuggerCommand.Disassemble(null) },
        { "l kernel/fork.c:10", new DebuggerCommand.List("kernel/fork.c:10") },
        { "ptype struct irq_desc", new DebuggerCommand.Type("struct irq_desc") },
        { "info b", new DebuggerCommand.Info("breakpoints", "") },
        { "i r rax", new DebuggerCommand.Info("registers", "rax") },
        { "info threads", new DebuggerCommand.Info("cpus", "") },
        { "i irq", new DebuggerCommand.Info("irq", "") },
        { "mon info mtree", new DebuggerCommand.Monitor("info mtree") },
        { "console ls /proc", new DebuggerCommand.Send("ls /proc") },
        { "disp", new DebuggerCommand.Display(null, "") },
        { "display/i $pc", new DebuggerCommand.Display(new DebuggerCommand.Examine("$pc", 1, 0, 'i'), "/i $pc") },
        { "display /2gx $rsp", new DebuggerCommand.Display(new DebuggerCommand.Examine("$rsp", 2, 8, 'x'), "/2gx $rsp") },
        { "display/x current->pid", new DebuggerCommand.Display(new DebuggerCommand.Print("current->pid", 'x'), "/x current->pid") },
        { "undisplay 2", new DebuggerCommand.Undisplay("2") },
        { "x/4", new DebuggerCommand.Examine("", 4, 0, 'x') },
        { "detach", new DebuggerCommand.Detach() },
        { "q", new DebuggerCommand.Quit() },
        { "help x", new DebuggerCommand.Help("x") },
    };

    [Theory]
    [MemberData(nameof(Lines))]
    public void A_line_is_the_command_that_gdb_makes_of_it(string line, DebuggerCommand expected) => Assert.Equal(expected, CommandParser.Parse(line));

    [Fact]
    public void Numbers_may_stand_in_a_row()
    {
        Assert.Equal([1, 2, 7], Assert.IsType<DebuggerCommand.Delete>(CommandParser.Parse("d 1 2,7")).Numbers);
        Assert.Empty(Assert.IsType<DebuggerCommand.Enable>(CommandParser.Parse("disable")).Numbers);
    }

    [Theory]
    [InlineData("frobnicate", "there is no command 'frobnicate'", "help lists them")]
    [InlineData("re", "'re' may be reverse-continue, reverse-stepi", "a letter more")]
    [InlineData("tb", "tbreak PLACE", "for example: tb start_kernel")]
    [InlineData("condition x", "condition N [COND]", "for example")]
    [InlineData("ignore 1", "ignore N COUNT", "for example")]
    [InlineData("finish 3", "finish", "for example")]
    [InlineData("p", "print", "for example")]
    [InlineData("p/q x", "print/q: there is no such format", "p/x jiffies_64")]
    [InlineData("display/i", "display [/FORMAT] EXPR", "display/i $pc")]
    [InlineData("x/8yx 0", "'y' is no size", "x/8gx $rsp")]
    [InlineData("set a", "set var EXPR = VALUE", "for example")]
    [InlineData("info weather", "info weather: there is no such topic", "breakpoints, display, cpus")]
    [InlineData("n -1", "next [COUNT]", "for example")]
    [InlineData("f 99999999999", "frame [N]", "for example")]
    public void A_line_that_is_no_command_is_told_with_what_is_meant_to_be(string line, string message, string remedy)
    {
        var error = Assert.Throws<CommandSyntaxException>(() => CommandParser.Parse(line));
        Assert.Contains(message, error.Message, StringComparison.Ordinal);
        Assert.Contains(remedy, error.Remedy, StringComparison.Ordinal);
    }

    [Fact]
    public void Every_commands_own_example_is_one_of_it_and_no_name_is_taken_twice()
    {
        Assert.All(CommandTable.All, entry => Assert.Equal(entry, CommandTable.Find(entry.Example.Split(' ', '/')[0], out _)));
        Assert.All(CommandTable.All, entry => CommandParser.Parse(entry.Example));
        var names = CommandTable.All.SelectMany(e => e.Aliases.Prepend(e.Name)).ToList();
        Assert.Equal(names.Count, names.Distinct().Count());
    }
}
