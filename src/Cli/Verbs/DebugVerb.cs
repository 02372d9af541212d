// ktrace debug: a scenario's guest in a person's hands, line by line. Commands are gdb's; they come from --ex, a terminal or a pipe.
using System.CommandLine;
using KTrace.Boot.Kernels;
using KTrace.Boot.Scenarios;
using KTrace.Cli.Sessions;
using KTrace.Debugger.Sessions;
using KTrace.Rsp;
using KTrace.Tui.Commands;

namespace KTrace.Cli.Verbs;

internal static class DebugVerb
{
    public static Command Create(IReadOnlyList<string> qemuArguments)
    {
        var boot = new BootOptions();
        var prompt = new PromptOptions();
        var command = new Command(
            "debug",
            """
            Boot a kernel in QEMU and step through it. Commands are gdb's (b, c, s, n, finish, bt, p, x/8gx, info …; help lists them). Arguments behind -- are QEMU's own.

            Examples:
              ktrace debug e1000e-msix
              ktrace debug e1000e-msix --ex 'tb start_kernel' --ex c --ex bt --batch
              ktrace debug e1000e-msix --from-reset
              printf 'b x86_vector_msi_compose_msg\nc\nbt\nfinish\n' | ktrace debug e1000e-msix
            """);
        var fromReset = new Option<bool>("--from-reset") { Description = "Begin at the machine's first instruction, not where the kernel is known" };
        boot.AddTo(command);
        command.Add(fromReset);
        prompt.AddTo(command);
        command.SetAction((result, cancellationToken) =>
            RunAsync(boot.Read(result, qemuArguments), result.GetValue(fromReset), prompt.Read(result), cancellationToken));
        return command;
    }

    private static async Task<int> RunAsync(Scenario scenario, bool fromReset, PromptSettings settings, CancellationToken cancellationToken)
    {
        using var status = new RecordingStatus();
        await using var boot = await LiveBoot.PrepareAsync(scenario, new KernelStore(), status, cancellationToken);
        using var transcript = settings.OpenTranscript();
        await boot.StartAsync(cancellationToken);
        status.Booting(boot.Qemu);
        using var prompt = new Prompt(settings, boot.Qemu.Console);
        try
        {
            await using var machine = await boot.ConnectAsync(transcript, cancellationToken);
            var options = new SessionOptions { Progress = prompt, EndReason = boot.EndInWordsAsync, BootCode = boot.OpenBootCode(settings.BuildTrees) };
            await using var session = fromReset
                ? await DebugSession.StartAsync(machine, boot.Image, boot.Modules, options, cancellationToken)
                : await DebugSession.StartAsync(await boot.IdentifyAsync(machine, status, cancellationToken), boot.Modules, options, cancellationToken);
            status.Dispose();
            return await prompt.RunAsync(session, new SourceTree(settings.Sources), cancellationToken);
        }
        catch (RspException e) when (e.Kind is RspErrorKind.Disconnected)
        {
            throw await boot.EndedAsync(e, "the guest was being debugged", null);
        }
    }
}
