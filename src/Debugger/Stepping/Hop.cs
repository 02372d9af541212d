namespace KTrace.Debugger.Stepping;

/// <summary>What became of one instruction.</summary>
internal enum HopKind
{
    /// <summary>Execution is in the same activation still.</summary>
    Moved,

    /// <summary>A call, or a system call: at the entry of what was called.</summary>
    Called,

    /// <summary>The activation is over: in its caller.</summary>
    Returned,

    /// <summary>The function ended with a jump to another one, which will return to our caller.</summary>
    Left,

    /// <summary>The kernel let a program go on, or the other way round.</summary>
    ChangedMode,

    /// <summary>An interrupt or exception came instead; at its entry.</summary>
    Trapped,

    /// <summary>Something that a person must see came first.</summary>
    Interrupted,
}

/// <summary>One instruction, executed.</summary>
/// <param name="ReturnAddress">Of a call: where it will go on …</param>
/// <param name="Mark">… in this activation.</param>
internal readonly record struct Hop(HopKind Kind, ulong ReturnAddress = 0, FrameMark Mark = default);
