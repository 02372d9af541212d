// The kernel's own call traces as it prints them (arch/x86/kernel/dumpstack.c, show_trace_log_lvl; kernel/trace/trace_output.c, trace_stack_print).
// Entries with "?" are words on the stack that look like code, and nothing that the kernel's unwinder found. Registers that lie on the stack are
// printed in between, by show_regs_if_on_stack: their RIP is a frame too.
using System.Collections.Immutable;
using System.Globalization;
using System.Text.RegularExpressions;
using KTrace.Symbols.Kernel;

namespace KTrace.Tests.Debugger;

/// <summary>One frame that the kernel vouches for.</summary>
/// <param name="Function">Null for a trampoline that has no name.</param>
internal sealed record OracleEntry(string? Function, ulong Offset, string? Module)
{
    public override string ToString() => Function is null ? "[FTRACE TRAMPOLINE]" : $"{Function}+0x{Offset:x}{(Module is null ? "" : $" [{Module}]")}";

    /// <summary>Whether that is this address; several functions may have the name.</summary>
    public bool Is(ulong pc, KernelMap map)
    {
        if (Function is null)
        {
            return !map.Unwind.IsText(pc);
        }

        if (Module is not null)
        {
            return map.Modules.FirstOrDefault(m => m.Name == Module)?.Symbols is { } symbols && symbols.Find(Function).Any(s => s.Symbol.Value + Offset == pc);
        }

        return map.Image.Symbols.Find(Function).Any(s => map.ToRunTime(s.Symbol.Value + Offset) == pc);
    }
}

/// <param name="ToUser">It ends with registers of user space.</param>
/// <param name="Text">The lines as printed.</param>
internal sealed record OracleTrace(ImmutableArray<OracleEntry> Entries, ImmutableArray<string> Marks, bool ToUser, string Text);

internal static partial class OracleConsole
{
    /// <summary>Every "Call Trace:" in order.</summary>
    public static List<OracleTrace> CallTraces(string console)
    {
        var traces = new List<OracleTrace>();
        List<string>? lines = null;
        foreach (var raw in console.Split('\n'))
        {
            var line = Stamp().Replace(raw.TrimEnd('\r'), "");
            if (line.TrimEnd().EndsWith("Call Trace:", StringComparison.Ordinal))
            {
                Finish(traces, lines);
                lines = [];
            }
            else if (lines is not null)
            {
                if (Entry().IsMatch(line) || Mark().IsMatch(line) || Instruction().IsMatch(line) || Registers().IsMatch(line))
                {
                    lines.Add(line);
                }
                else if (lines.Count(l => Mark().IsMatch(l)) % 2 == 0)
                {
                    // Between <TASK> and </TASK> a line of somebody else (a clock, a driver) may slip in; it ends nothing.
                    Finish(traces, lines);
                    lines = null;
                }
            }
        }

        Finish(traces, lines);
        return traces;
    }

    /// <summary>Every "&lt;stack trace&gt;" of a trace file that was printed with sym-offset.</summary>
    public static List<OracleTrace> TraceFile(string console)
    {
        var traces = new List<OracleTrace>();
        ImmutableArray<OracleEntry>.Builder? entries = null;
        var text = new List<string>();
        foreach (var raw in console.Split('\n').Append(""))
        {
            var line = raw.TrimEnd('\r');
            if (line.TrimStart().StartsWith("=> ", StringComparison.Ordinal) && entries is not null)
            {
                text.Add(line);
                if (Entry().Match(" " + line.TrimStart()[3..]) is { Success: true } match)
                {
                    entries.Add(From(match));
                }
                else if (line.Contains("[FTRACE TRAMPOLINE]", StringComparison.Ordinal) || line.Contains("=> 0x", StringComparison.Ordinal))
                {
                    entries.Add(new OracleEntry(null, 0, null));
                }
                else
                {
                    // The guest powered off in the middle of the line.
                    entries = null;
                }
            }
            else
            {
                if (entries is { Count: > 0 })
                {
                    traces.Add(new OracleTrace(entries.ToImmutable(), [], false, string.Join('\n', text)));
                }

                entries = line.Contains("<stack trace>", StringComparison.Ordinal) ? ImmutableArray.CreateBuilder<OracleEntry>() : null;
                text = [];
            }
        }

        return traces;
    }

    private static void Finish(List<OracleTrace> traces, List<string>? lines)
    {
        if (lines is null)
        {
            return;
        }

        var entries = ImmutableArray.CreateBuilder<OracleEntry>();
        var marks = ImmutableArray.CreateBuilder<string>();
        var toUser = false;
        foreach (var line in lines)
        {
            if (Instruction().Match(line) is { Success: true } instruction)
            {
                var match = Entry().Match(" " + instruction.Groups["place"].Value);
                toUser = !match.Success;
                if (match.Success)
                {
                    entries.Add(From(match));
                }
            }
            else if (Mark().Match(line) is { Success: true } mark)
            {
                marks.Add(mark.Groups[1].Value);
            }
            else if (Entry().Match(line) is { Success: true } match && !match.Groups["guess"].Success)
            {
                entries.Add(From(match));
            }
        }

        traces.Add(new OracleTrace(entries.ToImmutable(), marks.ToImmutable(), toUser, string.Join('\n', lines)));
    }

    private static OracleEntry From(Match match) => new(
        match.Groups["function"].Value,
        ulong.Parse(match.Groups["offset"].ValueSpan, NumberStyles.HexNumber, CultureInfo.InvariantCulture),
        match.Groups["module"] is { Success: true } module ? module.Value : null);

    [GeneratedRegex(@"^(<\d+>)?\[ *\d+\.\d+\](\[ *[TC]\d+\])? ?")]
    private static partial Regex Stamp();

    [GeneratedRegex(@"^ +(?<guess>\? )?(?<function>[\w.$]+)\+0x(?<offset>[0-9a-f]+)/0x[0-9a-f]+( \[(?<module>\w+)\])?\s*$")]
    private static partial Regex Entry();

    [GeneratedRegex(@"^ +<(/?[A-Za-z0-9]+)>\s*$")]
    private static partial Regex Mark();

    [GeneratedRegex(@"^(RIP: [0-9a-f]+:|EIP: )(?<place>.*)$")]
    private static partial Regex Instruction();

    [GeneratedRegex(@"^(Code: |RSP: |RAX: |RDX: |RBP: |R10: |R13: |FS: |CS: |CR2: |DR\d: |EAX: |ESI: |DS: |EFLAGS: )")]
    private static partial Regex Registers();
}
