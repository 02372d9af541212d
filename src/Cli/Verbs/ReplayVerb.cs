// ktrace replay: the same scenario booted again, compared hit by hit. (Re-executing a recorded instruction stream is another matter.)
using System.CommandLine;
using KTrace.Boot;
using KTrace.Boot.Kernels;
using KTrace.Boot.Scenarios;
using KTrace.Cli.Sessions;
using KTrace.Tracing;
using KTrace.Tui.Views;

namespace KTrace.Cli.Verbs;

internal static class ReplayVerb
{
    public static Command Create()
    {
        var trace = new Argument<string>("trace") { HelpName = "FILE", Description = "A trace that ktrace record or ktrace demo wrote" };
        var output = new Option<string?>("--output", "-o") { HelpName = "FILE", Description = "Keep the new recording here" };
        var command = new Command(
            "replay",
            """
            Boot a trace's scenario again, with the very same kernel and initramfs, and compare the two recordings. Exit 0: the same call paths in the same
            order, 1: they differ, 2: error.

            Example:
              ktrace replay e1000e-msix.ktrace
            """)
        {
            trace, output,
        };
        command.SetAction((result, cancellationToken) => RunAsync(result.GetRequiredValue(trace), result.GetValue(output), cancellationToken));
        return command;
    }

    private static async Task<int> RunAsync(string file, string? output, CancellationToken cancellationToken)
    {
        if (output is not null && TraceOutput.IsSame(file, output))
        {
            throw new BootException($"-o {output} would overwrite the trace that is replayed", "give the new recording another name");
        }

        var recorded = Trace.Load(file);
        var boot = recorded.Header?.Boot ?? throw new BootException($"{file} has no header, so it does not say what to boot");
        if (!boot.Value.TryGetProperty("scenario", out var element))
        {
            throw new BootException($"{file} does not say which scenario it recorded", "only traces that ktrace record or demo wrote can be replayed");
        }

        var scenario = Scenario.FromJson(element);
        var store = new KernelStore();
        using var status = new RecordingStatus();
        await VerifyAsync(scenario, boot, store, status, cancellationToken);
        var folder = output is null ? Directory.CreateTempSubdirectory("ktrace-replay-").FullName : null;
        try
        {
            var again = output ?? Path.Combine(folder!, "replay.ktrace");
            var outcome = await new RecordingSession(scenario, store, status).RunAsync(again, cancellationToken);
            status.Dispose();
            Console.Error.WriteLine(RecordVerb.Summary(outcome with { File = output ?? "compared with " + file }));
            return DiffVerb.Compare(file, again);
        }
        finally
        {
            if (folder is not null)
            {
                Directory.Delete(folder, recursive: true);
            }
        }
    }

    /// <summary>Another kernel or initramfs would give another boot: said before it starts.</summary>
    private static async Task VerifyAsync(Scenario scenario, TraceBoot boot, KernelStore store, RecordingStatus status, CancellationToken cancellationToken)
    {
        var prepared = await PreparedBoot.PrepareAsync(scenario, store, null, status, cancellationToken);
        await VerifyAsync("kernel", prepared.Kernel?.Image, boot, scenario.Kernel?.Release is { } release ? $"ktrace kernel fetch {release}" : null, cancellationToken);
        await VerifyAsync("initramfs", prepared.InitramfsPath, boot, "the busybox or the modules in it have changed since; record anew: ktrace record", cancellationToken);
    }

    private static async Task VerifyAsync(string what, string? path, TraceBoot boot, string? remedy, CancellationToken cancellationToken)
    {
        if (boot.Text(what, "sha256") is not { } expected)
        {
            return;
        }

        var actual = path is null ? null : await PreparedBoot.HashAsync(path, cancellationToken);
        if (actual != expected)
        {
            throw new BootException($"the {what} is not the one that was recorded ({path ?? "none"} has SHA-256 {actual ?? "-"}, recorded was {expected})", remedy);
        }
    }
}
