using System.Collections.Immutable;
using KTrace.Debugger.Breakpoints;
using KTrace.Rsp;
using KTrace.Symbols.Values;

namespace KTrace.Debugger.Sessions;

/// <summary>Why a machine that was let run stands still again.</summary>
public abstract record StopCause
{
    private StopCause()
    {
    }

    /// <summary>Breakpoints whose conditions hold, by number. More than one may share an address.</summary>
    public sealed record AtBreakpoint(ImmutableArray<Breakpoint> Breakpoints) : StopCause;

    /// <summary>Watched memory was touched. The pc is behind the instruction that did it.</summary>
    /// <param name="Address">As the stub reported it.</param>
    public sealed record AtWatchpoint(Breakpoint Watchpoint, WatchKind Kind, ulong Address, ulong? Before, ulong? Now) : StopCause;

    /// <summary>The function whose variable was watched has returned; the watchpoint was deleted.</summary>
    public sealed record VariableGone(Breakpoint Watchpoint) : StopCause
    {
        /// <summary>Why, in gdb's words.</summary>
        public const string Reason = "the program has left the block in which its expression is valid";
    }

    /// <summary>The step that was asked for is done.</summary>
    public sealed record StepDone : StopCause;

    /// <summary><c>finish</c>: the function has returned.</summary>
    /// <param name="Value">What it returned; null for void, and where its type is not known.</param>
    public sealed record FunctionReturned(string Function, TypedValue? Value) : StopCause;

    /// <summary><c>until</c>, <c>advance</c>: the place was reached.</summary>
    public sealed record PlaceReached : StopCause;

    /// <summary>Somebody asked for it.</summary>
    public sealed record Interrupted : StopCause;

    /// <summary>A signal of a user-mode program, by gdb's number.</summary>
    public sealed record Signal(int Number) : StopCause;

    /// <summary>Reverse execution came to an end of what was recorded: <c>begin</c> or <c>end</c>.</summary>
    public sealed record ReplayEdge(string Edge) : StopCause;

    /// <summary>The session begins here: connected, and nothing has run yet.</summary>
    public sealed record Connected : StopCause;
}

/// <summary>How a run ended.</summary>
public abstract record SessionStop
{
    private SessionStop()
    {
    }

    /// <param name="Cpu">The CPU that stopped.</param>
    /// <param name="ProgramCounter">Its linear pc.</param>
    public sealed record Stopped(StopCause Cause, int Cpu, ulong ProgramCounter) : SessionStop;

    /// <summary>There is no machine any more.</summary>
    /// <param name="Reason">In words: powered off, rebooted, killed.</param>
    public sealed record Ended(string Reason) : SessionStop;
}
