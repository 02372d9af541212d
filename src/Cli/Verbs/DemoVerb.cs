// ktrace demo: the main job from nothing to an answer. Programs, kernel, initramfs, boot, recording, and the story that the trace tells.
using System.CommandLine;
using KTrace.Boot;
using KTrace.Boot.Kernels;
using KTrace.Cli.Sessions;
using KTrace.Debugger.Recording;
using KTrace.Tracing;
using KTrace.Tui.Views;

namespace KTrace.Cli.Verbs;

internal static class DemoVerb
{
    private const string ScenarioName = "e1000e-msix";
    private const string RecordedTrace = "e1000e-msix.ktrace";

    public static Command Create()
    {
        var recorded = new Option<bool>("--recorded") { Description = "Tell the story from the trace that comes with KTrace: nothing to install, no network" };
        var yes = new Option<bool>("--yes", "-y") { Description = "Install missing programs without asking" };
        var output = new Option<string>("--output", "-o") { HelpName = "FILE", Description = "The trace to write", DefaultValueFactory = _ => RecordedTrace };
        var command = new Command(
            "demo",
            """
            Boot the distribution's kernel in QEMU, record how the e1000e driver gets its three MSI-X interrupts, and show it. What is missing is installed
            and fetched: about 930 MB the first time, in a cache afterwards.

            Examples:
              ktrace demo
              ktrace demo --recorded
            """)
        {
            recorded, yes, output,
        };
        command.SetAction((result, cancellationToken) => result.GetValue(recorded)
            ? Task.FromResult(TellRecorded())
            : RunAsync(result.GetValue(yes), result.GetValue(output)!, cancellationToken));
        return command;
    }

    private static int TellRecorded()
    {
        var file = Scenarios.OwnTrace(RecordedTrace);
        DemoStory.Tell(Trace.Load(file, keepRegisters: true), ViewOutput.For(Console.Out), Path.Combine("traces", RecordedTrace));
        return CommandRunner.Success;
    }

    private static async Task<int> RunAsync(bool yes, string output, CancellationToken cancellationToken)
    {
        using var status = new RecordingStatus();
        RecordingOutcome outcome;
        try
        {
            if (!await ProvidePrograms.EnsureAsync(yes, status, cancellationToken))
            {
                return CommandRunner.Error;
            }

            var scenario = Scenarios.Read(ScenarioName);
            var store = new KernelStore();
            status.Say("kernel: the distribution's own, with its debug symbols");
            await store.FetchAsync(KernelStore.Stock, scenario.Initramfs?.Build?.Modules ?? [], status, cancellationToken: cancellationToken);
            outcome = await new RecordingSession(scenario, store, status).RunAsync(output, cancellationToken);
        }
        catch (BootException e) when (e.IsNetwork)
        {
            status.Dispose();
            return CommandRunner.Fail(e.Message, "ktrace demo --recorded tells the same story from a recorded trace, without a network");
        }

        status.Dispose();
        var trace = Trace.Load(outcome.File, keepRegisters: true);
        DemoStory.Tell(trace, ViewOutput.For(Console.Out), outcome.File);
        return outcome.Result.End == RecordingEnd.GuestEnded ? CommandRunner.Success : CommandRunner.Different;
    }
}
