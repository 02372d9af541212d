// Job control (POSIX.1-2017, General Terminal Interface, 11.1): Ctrl-Z at a cooked terminal sends SIGTSTP to the whole foreground process group. In raw mode
// the program does it itself, and has to stop as if it had never taken the signal: a shell looks at the signal that stopped its child.
using System.Runtime.InteropServices;

namespace KTrace.Tui.Terminal;

/// <summary>Stops this process, and goes on where it was when it is continued.</summary>
internal static unsafe class JobControl
{
    /// <summary>
    /// Stops this process. Comes back when SIGCONT came, or at once where nobody could continue it: the kernel drops SIGTSTP for a process group without a
    /// shell (orphaned: the first program of a terminal window), and a shell without job control ignores it for us.
    /// </summary>
    /// <param name="wholeGroup">The other processes of the group too, as a terminal does it.</param>
    public static void Stop(bool wholeGroup)
    {
        // .NET's own handler is put aside as it is: signal(3) alone would lose its flags.
        byte* before = stackalloc byte[LibC.OpaqueSize];
        if (LibC.SignalAction(LibC.StopSignal, null, before) != 0 || Marshal.ReadIntPtr((nint)before) == LibC.IgnoreSignal)
        {
            return;
        }

        if (wholeGroup)
        {
            // Ignored meanwhile: this process is to stop at one known place, in the thread that runs here.
            _ = LibC.Signal(LibC.StopSignal, LibC.IgnoreSignal);
            _ = LibC.Kill(0, LibC.StopSignal);
        }

        _ = LibC.Signal(LibC.StopSignal, LibC.DefaultAction);
        _ = LibC.Raise(LibC.StopSignal);
        _ = LibC.SignalAction(LibC.StopSignal, before, null);
    }
}
