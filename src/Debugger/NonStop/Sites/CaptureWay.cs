namespace KTrace.Debugger.NonStop.Sites;

/// <summary>How a place is traced.</summary>
public enum CaptureWay
{
    /// <summary>A breakpoint stops the machine.</summary>
    Stop,

    /// <summary>Code in the guest writes a record, and the machine runs on.</summary>
    NonStop,
}

/// <summary>What a person wants.</summary>
public enum CaptureChoice
{
    /// <summary>Without stops where it can be done.</summary>
    Auto,

    /// <summary>--stop: breakpoints everywhere.</summary>
    AlwaysStop,

    /// <summary>--no-stop: what cannot be traced without stops is refused.</summary>
    NeverStop,
}

/// <summary>What was chosen for a place, and why, in words for people: <c>its entry has the tracer's no-op</c>, <c>a line inside the function</c>.</summary>
public readonly record struct PlannedWay(CaptureWay Way, string Reason);
