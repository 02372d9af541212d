using System.Globalization;
using KTrace.Debugger.Cpus;
using KTrace.Symbols;
using KTrace.Tracing;

namespace KTrace.Tui.Views;

/// <summary>Who runs on every CPU, one a line, as gdb lists threads: <c>* 0  halted  swapper/0 (0, idle)  ....  default_idle+0x13</c>.</summary>
/// <param name="selected">The CPU that questions are about, marked with a star.</param>
public sealed class CpuStatesView(IReadOnlyList<CpuState> cpus, int selected) : View
{
    public override IEnumerable<TextLine> Lines(int? width)
    {
        var table = new ColumnLines(new("  CPU"), new("", Rank: 1), new("TASK"), new("FLAGS", Rank: 2), new("CONTEXT", Rank: 3), new("STACK", Rank: 5), new("LOCATION"), new("SOURCE", Rank: 4));
        foreach (CpuState cpu in cpus)
        {
            table.Add(
                new TextLine().Add(cpu.Index == selected ? "* " : "  ", TextRole.Heading).Add(cpu.Index.ToString(CultureInfo.InvariantCulture), TextRole.Number),
                InterruptText.Cell(cpu.IsHalted switch { true => "halted", false => "running", _ => null }),
                new TextLine().Add(TaskText(cpu), cpu.Task is null ? TextRole.Reason : TextRole.Plain),
                InterruptText.Cell(cpu.Context?.Flags), InterruptText.Cell(cpu.Context?.Words, TextRole.Warning), InterruptText.Cell(StackText(cpu.Stack)),
                Location(cpu), InterruptText.Cell(cpu.Location is [{ Source: { } source }, ..] ? string.Create(CultureInfo.InvariantCulture, $"{source.File}:{source.Line}") : null, TextRole.Source));
        }

        return table.Lines(width);
    }

    /// <summary><c>cat (79)</c>, <c>kworker/0:1 (12, kernel)</c>, <c>swapper/0 (0, idle)</c>; without a task where the CPU is instead.</summary>
    private static string TaskText(CpuState cpu) => cpu.Task is { } task
        ? string.Create(CultureInfo.InvariantCulture, $"{task.Comm} ({task.Pid}{(task.IsIdle ? ", idle" : task.IsKernelThread == true ? ", kernel" : "")})")
        : cpu.Mode switch { CpuMode.Firmware => "before the kernel", CpuMode.User => "user space", _ => "-" };

    private static string? StackText(CpuStack stack) => stack switch
    {
        { Kind: CpuStackKind.HardIrq } => "hardirq",
        { Kind: CpuStackKind.SoftIrq } => "softirq",
        { Kind: CpuStackKind.Exception } => stack.Name ?? "exception",
        { Kind: CpuStackKind.Entry } => "entry",
        { Kind: CpuStackKind.Unknown } => null,
        { Kind: CpuStackKind.User } => "user",
        _ => "task",
    };

    private static TextLine Location(CpuState cpu)
    {
        var line = new TextLine();
        if (cpu.Location is [var innermost, ..])
        {
            return line.Add(FrameText.Name(TraceFrame.From(innermost, null))).Add(innermost.Offset == 0 ? "" : $"+{TraceHex.Format(innermost.Offset)}");
        }

        return line.Add(TraceHex.Format(cpu.LinearPc), TextRole.Number).Add(cpu.Mode == CpuMode.User ? " in user space" : "");
    }
}
