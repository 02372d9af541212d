using KTrace.Tracing;

namespace KTrace.Tui.Views;

/// <summary>How every view writes what became of a tracepoint.</summary>
internal static class TracepointText
{
    /// <summary>Empty when the requested symbol was armed as it is; otherwise <c>, armed as …</c> or <c>, pending</c>, and the note.</summary>
    public static string Armed(TraceTracepoint tracepoint)
    {
        string state = tracepoint switch
        {
            { State: TracepointState.Armed, Symbol: { } symbol } when symbol != tracepoint.Place => $", armed as {symbol}",
            { State: TracepointState.Armed } => "",
            _ => $", {tracepoint.State}",
        };
        return tracepoint.Note is null || tracepoint.State == TracepointState.Armed ? state : $"{state}: {tracepoint.Note}";
    }
}
