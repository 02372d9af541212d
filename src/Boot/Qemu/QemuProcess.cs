// A QEMU that ktrace starts, watches and ends. The order in which it starts: private directory, listening sockets for console and
// QMP, the watching shell (see ParentWatch) with QEMU under it, both connections accepted, a first QMP answer. That answer comes
// from QEMU's main loop, which runs only when the machine is made and the gdb stub listens; so nothing has to be polled.
using System.Diagnostics;
using System.Net.Sockets;

namespace KTrace.Boot.Qemu;

/// <summary>A running QEMU, stopped before the guest's first instruction until a debugger or <see cref="ContinueAsync"/> lets it
/// go.</summary>
public sealed class QemuProcess : IAsyncDisposable
{
    private const int ErrorLimit = 64 << 10;
    private static readonly TimeSpan WatcherPatience = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan LastWords = TimeSpan.FromSeconds(2);

    /// <summary>How long QEMU may take from its start to its first answer.</summary>
    public static TimeSpan DefaultStartTimeout { get; } = TimeSpan.FromSeconds(30);

    private readonly PrivateDirectory directory;
    private readonly Process watcher;
    private readonly Task<string> errors;
    private readonly QmpConnection qmp;

    private QemuProcess(PrivateDirectory directory, Process watcher, Task<string> errors, Task<int> exited, QmpConnection qmp,
        GuestConsole console)
    {
        this.directory = directory;
        this.watcher = watcher;
        this.errors = errors;
        this.qmp = qmp;
        Console = console;
        Exited = exited;
    }

    /// <summary>The stub's unix socket.</summary>
    public string GdbSocket => Path.Combine(directory.Path, QemuCommandLine.GdbSocket);

    /// <summary>A folder (mode 0700) for the session's other files; it is removed when QEMU has ended.</summary>
    public string Directory => directory.Path;

    public GuestConsole Console { get; }

    /// <summary>QEMU's exit code, once it has ended: 0 for a guest that powered off, 128 + signal if it was killed. Never
    /// fails.</summary>
    public Task<int> Exited { get; }

    /// <summary>The guest's RAM as a file that can be mapped while QEMU lives; null when it has none that is shared.</summary>
    public string? RamFile { get; private init; }

    /// <summary>QEMU's version, such as 7.2.22.</summary>
    public string Version => qmp.Version ?? "unknown";

    /// <summary>Why QEMU ended, in QMP's words (guest-shutdown, guest-reset, guest-panic …), if it has said so.</summary>
    public string? ShutdownReason => qmp.ShutdownReason;

    /// <summary>The same, once QEMU has said all that it says: call it when the guest has ended.</summary>
    public async Task<string?> ReadShutdownReasonAsync()
    {
        await Task.WhenAny(qmp.Completed, Task.Delay(LastWords)).ConfigureAwait(false);
        return qmp.ShutdownReason;
    }

    /// <summary>Starts QEMU.</summary>
    /// <param name="startTimeout">How long to wait for it; null for <see cref="DefaultStartTimeout"/>.</param>
    /// <exception cref="BootException">QEMU is missing, ends at once (the message has what it wrote to standard error) or does
    /// not answer in time.</exception>
    public static async Task<QemuProcess> StartAsync(QemuCommandLine commandLine, TimeSpan? startTimeout = null,
        CancellationToken cancellationToken = default)
    {
        var program = Tool.Find(commandLine.Program)
            ?? throw new BootException(
                $"{commandLine.Program} is not installed",
                QemuMachine.All.FirstOrDefault(machine => machine.Program == commandLine.Program) is { } row
                    ? $"{(Environment.IsPrivilegedProcess ? "" : "sudo ")}apt-get install -y --no-install-recommends {row.Package}"
                    : null);
        var limit = startTimeout ?? DefaultStartTimeout;
        var directory = PrivateDirectory.Create();
        Process? watcher = null;
        GuestConsole? console = null;
        QmpConnection? qmp = null;
        try
        {
            using var consoleListener = Listen(directory.Path, QemuCommandLine.ConsoleSocket);
            using var qmpListener = Listen(directory.Path, QemuCommandLine.QmpSocket);
            watcher = Tool.Start(ParentWatch.Program, ParentWatch.Arguments(directory.Path, program,
                commandLine.Arguments(directory.Path)));
            var errors = Tool.ReadAsync(watcher.StandardError.BaseStream, ErrorLimit, keepEnd: false);
            var output = Tool.ReadAsync(watcher.StandardOutput.BaseStream, ErrorLimit, keepEnd: true);
            var exited = WaitAsync(watcher, output);

            using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            patience.CancelAfter(limit);
            var ready = ReadyAsync(consoleListener, qmpListener, patience.Token);
            if (await Task.WhenAny(ready, exited).ConfigureAwait(false) == exited)
            {
                await patience.CancelAsync().ConfigureAwait(false);
                Forget(ready);
                throw EndedAtOnce(commandLine, await exited.ConfigureAwait(false), await errors.ConfigureAwait(false));
            }

            try
            {
                (console, qmp) = await ready.ConfigureAwait(false);
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
                Tool.End(watcher, watched: true);
                await exited.ConfigureAwait(false);
                throw new BootException(
                    $"{commandLine.Program} did not answer within {limit.TotalSeconds:0.#} s"
                    + Said(await errors.ConfigureAwait(false)), "run it by hand: " + commandLine.ToShell());
            }
            catch (BootException)
            {
                // It connected and then gave up (a missing option ROM, a busy file): its own words say more than a closed
                // connection.
                if (await Task.WhenAny(exited, Task.Delay(TimeSpan.FromSeconds(2), CancellationToken.None))
                    .ConfigureAwait(false) != exited)
                {
                    throw;
                }

                throw EndedAtOnce(commandLine, await exited.ConfigureAwait(false), await errors.ConfigureAwait(false));
            }

            return new QemuProcess(directory, watcher, errors, exited, qmp, console)
            {
                RamFile = commandLine.SharedRam is null ? null : qmp.FindRamFile(),
            };
        }
        catch
        {
            console?.Dispose();
            qmp?.Dispose();
            if (watcher is not null)
            {
                Tool.End(watcher, watched: true);
            }

            directory.Dispose();
            throw;
        }
    }

    /// <summary>Lets the guest run without a debugger.</summary>
    /// <exception cref="BootException">QEMU has gone.</exception>
    public Task ContinueAsync(CancellationToken cancellationToken = default) => qmp.ExecuteAsync("cont", cancellationToken);

    /// <summary>What QEMU wrote to standard error, once it has ended; at most 64 KiB.</summary>
    public Task<string> ReadErrorsAsync() => errors;

    /// <summary>Ends QEMU at once and waits until it is gone. Does nothing if it has ended.</summary>
    public async Task KillAsync()
    {
        Tool.End(watcher, watched: true);
        if (await Task.WhenAny(Exited, Task.Delay(WatcherPatience)).ConfigureAwait(false) != Exited)
        {
            // The watching shell does not do its work (somebody has stopped or killed part of it): end all of it from here.
            watcher.Kill(entireProcessTree: true);
        }

        await Exited.ConfigureAwait(false);
    }

    /// <summary>Ends QEMU if it still runs and removes the private directory.</summary>
    public async ValueTask DisposeAsync()
    {
        await KillAsync().ConfigureAwait(false);
        // What the guest said last may still be on its way through the pump.
        await Task.WhenAny(Console.Completed, Task.Delay(TimeSpan.FromSeconds(2))).ConfigureAwait(false);
        Console.Dispose();
        qmp.Dispose();
        watcher.Dispose();
        directory.Dispose();
    }

    private static async Task<(GuestConsole Console, QmpConnection Qmp)> ReadyAsync(Socket consoleListener, Socket qmpListener,
        CancellationToken cancellationToken)
    {
        GuestConsole? console = null;
        QmpConnection? qmp = null;
        try
        {
            var acceptQmp = qmpListener.AcceptAsync(cancellationToken).AsTask();
            console = new GuestConsole(await consoleListener.AcceptAsync(cancellationToken).ConfigureAwait(false));
            qmp = new QmpConnection(await acceptQmp.ConfigureAwait(false));
            await qmp.ExecuteAsync("qmp_capabilities", cancellationToken).ConfigureAwait(false);
            await qmp.ExecuteAsync("query-status", cancellationToken).ConfigureAwait(false);
            return (console, qmp);
        }
        catch
        {
            console?.Dispose();
            qmp?.Dispose();
            throw;
        }
    }

    private static Socket Listen(string directory, string name)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            socket.Bind(new UnixDomainSocketEndPoint(Path.Combine(directory, name)));
            socket.Listen(1);
            return socket;
        }
        catch (SocketException e)
        {
            socket.Dispose();
            throw new BootException($"{Path.Combine(directory, name)}: {e.Message}", inner: e);
        }
    }

    private static async Task<int> WaitAsync(Process watcher, Task output)
    {
        await watcher.WaitForExitAsync().ConfigureAwait(false);
        await output.ConfigureAwait(false);
        return watcher.ExitCode;
    }

    private static void Forget(Task task) => task.ContinueWith(
        done => _ = done.Exception, CancellationToken.None,
            TaskContinuationOptions.OnlyOnFaulted | TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);

    private static BootException EndedAtOnce(QemuCommandLine commandLine, int code, string errors) =>
        new($"{commandLine.Program} ended at once (exit code {code}){Said(errors)}", errors.Trim().Length == 0
            ? "run it by hand: " + commandLine.ToShell() : null);

    private static string Said(string errors)
    {
        var lines = errors.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        return lines.Length == 0 ? "" : ": " + string.Join("; ", lines.Take(8));
    }
}
