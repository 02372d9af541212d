using KTrace.Boot;
using KTrace.Boot.Kernels;
using KTrace.Boot.Scenarios;
using KTrace.Debugger.Recording;
using KTrace.Rsp;
using KTrace.Tracing;

namespace KTrace.Cli.Sessions;

/// <summary>
/// The same boot without tracepoints, to the same end: how long it takes by the guest's own clock. Its kernel is identified and its modules are followed as in a recording, so that what differs is the
/// tracing alone.
/// </summary>
internal static class BaselineBoot
{
    /// <returns>Seconds of the guest's clock (jiffies); null where that cannot be told: its memory is not shared, or the kernel has no jiffies_64.</returns>
    /// <exception cref="BootException">It cannot boot.</exception>
    public static async Task<double?> MeasureAsync(Scenario scenario, KernelStore store, RecordingStatus status, CancellationToken cancellationToken)
    {
        await using var boot = await LiveBoot.PrepareAsync(scenario, store, status, cancellationToken);
        await boot.StartAsync(cancellationToken);
        status.Note("booting once without tracepoints, to tell what tracing costs", false);
        status.Booting(boot.Qemu);
        var file = Path.GetTempFileName();
        try
        {
            await using var machine = await boot.ConnectAsync(null, cancellationToken);
            var target = await boot.IdentifyAsync(machine, null, cancellationToken);
            using var uptime = await GuestUptime.TryFindAsync(target, cancellationToken);
            if (uptime is null)
            {
                return null;
            }

            using var writer = new TraceWriter(file);
            writer.Write(new TraceRecord.Header { Tool = ToolVersion.Text, Arch = boot.Image.Architecture.Name, Kernel = new TraceKernel(boot.Image.Release, null, null), Boot = TraceBoot.From(new Dictionary<string, object?>()) });
            var limits = new RecorderLimits(null, scenario.Timeout is { } seconds ? TimeSpan.FromSeconds(seconds) : null, scenario.Until, Arguments: false);
            await new Recorder(target, [], boot.Modules, writer, boot.ConsoleBytes(), limits, null).RunAsync(boot.EndInWordsAsync, cancellationToken);
            cancellationToken.ThrowIfCancellationRequested();
            return uptime.Seconds;
        }
        catch (RspException e) when (e.Kind is RspErrorKind.Disconnected)
        {
            throw await boot.EndedAsync(e, "the guest was being measured", null);
        }
        finally
        {
            File.Delete(file);
        }
    }
}
