// Names and abbreviations are gdb's (gdb manual, "Command Syntax"): any beginning of a name that only one command has, and the single letters that gdb gives to the
// most usual ones. `CPU` stands where gdb has `thread`: a stub's threads are the machine's CPUs.
using System.Collections.Immutable;

namespace KTrace.Tui.Commands;

/// <param name="Name">In full.</param>
/// <param name="Aliases">What else it is called, single letters among them.</param>
/// <param name="Arguments">As help shows them.</param>
/// <param name="Meaning">A line.</param>
/// <param name="Example">What a person could type.</param>
public sealed record CommandEntry(string Name, ImmutableArray<string> Aliases, string Arguments, string Meaning, string Example);

/// <summary>Every command of a live session, in the order in which help lists them.</summary>
public static class CommandTable
{
    public static ImmutableArray<CommandEntry> All { get; } =
    [
        new("break", ["b", "br", "brea"], "[PLACE [if COND] [print EXPR, …]]", "stop at a place: a function, a line of this file, file.c:line, module:function, 'irq_*', *0xaddress", "b request_threaded_irq if irq >= 24"),
        new("tbreak", ["tb"], "PLACE", "stop there once", "tb start_kernel"),
        new("hbreak", ["hb"], "PLACE", "the same with a hardware breakpoint", "hb *0x1000000"),
        new("thbreak", [], "PLACE", "a hardware breakpoint for one stop", "thbreak *0xfffffff0"),
        new("trace", ["tracepoint"], "PLACE", "keep the call path of every hit, and go on", "trace x86_vector_msi_compose_msg"),
        new("watch", [], "EXPR [if COND]", "stop when memory is written and its value changes", "watch jiffies_64"),
        new("rwatch", [], "EXPR [if COND]", "stop when memory is read", "rwatch *(int *)0xffff888000014981"),
        new("awatch", [], "EXPR [if COND]", "stop when memory is read or written", "awatch current->flags"),
        new("delete", ["d"], "[N …]", "remove breakpoints; all of them without a number", "d 2"),
        new("enable", ["en"], "[N …]", "switch breakpoints on", "enable 1 3"),
        new("disable", ["dis"], "[N …]", "switch breakpoints off; they keep their counts", "disable 1"),
        new("condition", [], "N [COND]", "stop at breakpoint N only when a condition holds; without one: always", "condition 1 current->pid == 62"),
        new("ignore", [], "N COUNT", "let the next COUNT hits of a breakpoint pass", "ignore 1 10"),
        new("continue", ["c", "fg"], "[COUNT]", "run to the next stop; COUNT: to the COUNTth hit of this breakpoint", "c"),
        new("step", ["s"], "[COUNT]", "run to another source line, into functions", "s"),
        new("next", ["n"], "[COUNT]", "run to another source line of this function", "n 3"),
        new("stepi", ["si"], "[COUNT]", "execute one instruction", "si"),
        new("nexti", ["ni"], "[COUNT]", "execute one instruction, calls as a whole", "ni"),
        new("finish", ["fin"], "", "run until this frame's function returns, and show what it returned", "finish"),
        new("until", ["u"], "[PLACE]", "run to a line behind this one (out of a loop), or to a place in this frame", "u"),
        new("advance", ["adv"], "PLACE", "run to a place", "advance kernel/irq/manage.c:2187"),
        new("reverse-continue", ["rc"], "", "run backwards to the last stop (in a replay)", "rc"),
        new("reverse-stepi", ["rsi"], "", "one instruction backwards (in a replay)", "rsi"),
        new("backtrace", ["bt", "where"], "[COUNT] [full]", "the call path, innermost first; full: with locals", "bt"),
        new("frame", ["f"], "[N]", "choose a frame of the call path", "f 2"),
        new("up", [], "[N]", "choose the caller", "up"),
        new("down", ["dow"], "[N]", "choose the callee", "down"),
        new("cpu", ["thread", "t"], "[N]", "choose a CPU", "cpu 1"),
        new("print", ["p", "inspect", "call"], "[/FORMAT] EXPR", "a C expression over the kernel's types and variables; $rax, $pc, current", "p *desc->irq_data.chip"),
        new("display", [], "[/FORMAT] EXPR", "show an expression's value now and at every stop; /i and sizes show memory as x does", "display/i $pc"),
        new("undisplay", [], "[N|EXPR]", "do not show it any more; all of them without a number", "undisplay 1"),
        new("set", [], "var EXPR = VALUE", "write memory or a register", "set $rax = 0"),
        new("x", [], "[/COUNT SIZE FORMAT] [ADDRESS]", "memory: sizes b h w g, formats x d u o a c s i; without an address: behind the last", "x/8gx $rsp"),
        new("disassemble", ["disas"], "[PLACE]", "the instructions of a function, as they are in memory now", "disas"),
        new("list", ["l"], "[PLACE]", "source lines", "l"),
        new("ptype", ["whatis"], "TYPE|EXPR", "how a type is made, or that of an expression", "ptype struct irq_desc"),
        new("info", ["i"], "TOPIC", "breakpoints, display, cpus, registers, args, locals, frame, modules, source, symbol, phase, irq, lapic, ioapic, pic", "i b"),
        new("monitor", ["mon"], "COMMAND", "a command of QEMU's monitor", "mon info mtree"),
        new("console", [], "TEXT", "type a line into the guest's console", "console ls /proc"),
        new("detach", [], "", "let the guest run on without a debugger", "detach"),
        new("quit", ["q", "exit", "kill", "k"], "", "end the session; a guest that was started here ends too", "q"),
        new("help", ["h"], "[COMMAND]", "this list, or more about one command", "help x"),
    ];

    /// <summary>The command that a word means.</summary>
    /// <param name="others">When there is none: those that begin with it.</param>
    public static CommandEntry? Find(string word, out IReadOnlyList<CommandEntry> others)
    {
        others = [];
        if (All.FirstOrDefault(c => c.Name == word || c.Aliases.Contains(word)) is { } exact)
        {
            return exact;
        }

        others = [.. All.Where(c => word.Length > 0 && c.Name.StartsWith(word, StringComparison.Ordinal))];
        return others.Count == 1 ? others[0] : null;
    }
}
