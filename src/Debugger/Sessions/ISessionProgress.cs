using KTrace.Debugger.Breakpoints;
using KTrace.Debugger.Modules;
using KTrace.Tracing;

namespace KTrace.Debugger.Sessions;

/// <summary>News of a session while its guest runs. Called from the task that runs it: return quickly.</summary>
public interface ISessionProgress
{
    /// <summary>The kernel was found in guest memory, and its names hold from now on.</summary>
    void Identified(ulong slide);

    void Module(ModuleEvent happened);

    /// <summary>A tracepoint was hit, and the guest goes on.</summary>
    void Hit(Breakpoint at, TraceRecord.Hit hit);

    /// <summary>Something that a person should know.</summary>
    void Note(string text, bool isWarning);
}
