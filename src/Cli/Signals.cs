using System.Runtime.InteropServices;

namespace KTrace.Cli;

/// <summary>
/// Ctrl-C, SIGTERM and SIGHUP ask for an orderly end once: the trace gets its end record and QEMU is gone. A second Ctrl-C does not wait.
/// </summary>
internal sealed class Signals : IDisposable
{
    private readonly CancellationTokenSource _cancel = new();
    private readonly PosixSignalRegistration[] _registrations;

    public Signals()
    {
        _registrations =
        [
            PosixSignalRegistration.Create(PosixSignal.SIGINT, c => OnSignal(c, 130)),
            PosixSignalRegistration.Create(PosixSignal.SIGTERM, c => OnSignal(c, 143)),
            PosixSignalRegistration.Create(PosixSignal.SIGHUP, c => OnSignal(c, 129)),
        ];
    }

    /// <summary>Set where Ctrl-C means something else than the end: a debugger's prompt stops the guest with it.</summary>
    public static Action? OnInterrupt { get; set; }

    public CancellationToken Token => _cancel.Token;

    /// <summary>128 + the signal's number, once one came.</summary>
    public int? ExitCode { get; private set; }

    public void Dispose()
    {
        foreach (var registration in _registrations)
        {
            registration.Dispose();
        }

        _cancel.Dispose();
    }

    private void OnSignal(PosixSignalContext context, int exitCode)
    {
        if (context.Signal == PosixSignal.SIGINT && OnInterrupt is { } interrupt)
        {
            context.Cancel = true;
            interrupt();
            return;
        }

        // The default action kills at once; a second signal gets just that.
        context.Cancel = ExitCode is null;
        ExitCode ??= exitCode;
        _cancel.Cancel();
    }
}
