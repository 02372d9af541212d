using KTrace.Debugger.Breakpoints;
using KTrace.Debugger.Stepping;
using KTrace.Rsp.Commands;

namespace KTrace.Tui.Commands;

/// <summary>One thing that a person asks of a live session; made of a line by <see cref="CommandParser"/>, done by <see cref="CommandExecutor"/>.</summary>
public abstract record DebuggerCommand
{
    private DebuggerCommand()
    {
    }

    /// <summary>An empty line where there is nothing to repeat, or a comment.</summary>
    public sealed record Nothing : DebuggerCommand;

    /// <summary><c>break</c>, <c>tbreak</c>, <c>hbreak</c>, <c>thbreak</c>, <c>trace</c>; without a place: where the CPU stands.</summary>
    public sealed record Break(string? Place, BreakpointOptions Options) : DebuggerCommand;

    public sealed record Watch(string Expression, BreakpointKind Kind) : DebuggerCommand;

    /// <summary>Without numbers: all.</summary>
    public sealed record Delete(IReadOnlyList<int> Numbers) : DebuggerCommand;

    public sealed record Enable(IReadOnlyList<int> Numbers, bool IsEnabled) : DebuggerCommand;

    public sealed record Condition(int Number, string? Expression) : DebuggerCommand;

    public sealed record Ignore(int Number, long Count) : DebuggerCommand;

    /// <summary><c>continue N</c> ignores the breakpoint that was reached N-1 times.</summary>
    public sealed record Continue(long Count) : DebuggerCommand;

    public sealed record Step(StepKind Kind, int Count) : DebuggerCommand;

    public sealed record Finish : DebuggerCommand;

    /// <summary>Without a place: to a line behind this one.</summary>
    public sealed record Until(string? Place) : DebuggerCommand;

    public sealed record Advance(string Place) : DebuggerCommand;

    /// <summary><c>reverse-continue</c>, <c>reverse-stepi</c>; where the stub can.</summary>
    public sealed record Reverse(bool IsStep) : DebuggerCommand;

    /// <param name="Count">So many of the innermost frames; null: all.</param>
    public sealed record Backtrace(int? Count, bool WithLocals) : DebuggerCommand;

    /// <summary><c>frame N</c>, <c>up N</c>, <c>down N</c>.</summary>
    /// <param name="Index">Of the frame, or how far from the chosen one.</param>
    public sealed record Frame(int? Index, bool IsRelative) : DebuggerCommand;

    public sealed record SelectCpu(int? Cpu) : DebuggerCommand;

    /// <param name="Format">A letter of gdb's (<c>x d u o t c s a</c>), or null.</param>
    public sealed record Print(string Expression, char? Format) : DebuggerCommand;

    /// <summary>What is shown now, and again at every stop; without anything: what was asked for before, now.</summary>
    /// <param name="Shown">A <see cref="Print"/> or an <see cref="Examine"/>.</param>
    /// <param name="Text">As it was written.</param>
    public sealed record Display(DebuggerCommand? Shown, string Text) : DebuggerCommand;

    /// <param name="What">A display's number or its text; empty: all of them.</param>
    public sealed record Undisplay(string What) : DebuggerCommand;

    /// <summary><c>set var X = Y</c>, <c>set $rax = Y</c>.</summary>
    public sealed record Set(string Target, string Value) : DebuggerCommand;

    /// <summary><c>x/8gx ADDRESS</c>.</summary>
    /// <param name="Address">Empty: behind what was examined last.</param>
    /// <param name="Size">Bytes of a unit.</param>
    public sealed record Examine(string Address, int Count, int Size, char Format) : DebuggerCommand;

    /// <summary>Without a place: at the chosen frame.</summary>
    public sealed record Disassemble(string? Place) : DebuggerCommand;

    public sealed record List(string? Place) : DebuggerCommand;

    public sealed record Type(string Name) : DebuggerCommand;

    /// <summary><c>info WHAT</c>.</summary>
    public sealed record Info(string Topic, string Argument) : DebuggerCommand;

    /// <summary>A command of QEMU's monitor.</summary>
    public sealed record Monitor(string Text) : DebuggerCommand;

    /// <summary>Types a line into the guest's console.</summary>
    public sealed record Send(string Text) : DebuggerCommand;

    public sealed record Detach : DebuggerCommand;

    public sealed record Quit : DebuggerCommand;

    public sealed record Help(string? Topic) : DebuggerCommand;
}
