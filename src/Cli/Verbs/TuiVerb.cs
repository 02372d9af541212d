// ktrace tui: the terminal UI on a scenario's guest, on a guest that runs already, or on a recorded trace.
using System.Collections.Immutable;
using System.CommandLine;
using KTrace.Boot;
using KTrace.Boot.Kernels;
using KTrace.Cli.Sessions;
using KTrace.Tracing;
using KTrace.Tui.App;
using KTrace.Tui.Persistence;
using KTrace.Tui.State;
using KTrace.Tui.Targets;
using KTrace.Tui.Terminal;

namespace KTrace.Cli.Verbs;

internal static class TuiVerb
{
    public static Command Create(IReadOnlyList<string> qemuArguments)
    {
        var boot = new BootOptions("SCENARIO|TRACE[#HIT]", "A scenario file, the name of one of KTrace's own (e1000e-msix), or a recorded trace");
        var attach = new Option<string?>("--attach") { HelpName = "HOST:PORT|unix:PATH", Description = "A guest that runs already: where its QEMU's gdb stub listens" };
        var breakpoints = new Option<string[]>("--break", "-b") { HelpName = "PLACE[ if COND][ print EXPR, …]", Description = "Stop there; may be given several times" };
        var fromReset = new Option<bool>("--from-reset") { Description = "Begin at the machine's first instruction, not where the kernel is known" };
        var prompt = new PromptOptions(isPrompt: false);
        var command = new Command(
            "tui",
            """
            Debug a guest, or look at a recorded trace, in panes. Arguments behind -- are QEMU's own. ? shows every key.

            Examples:
              ktrace tui e1000e-msix
              ktrace tui e1000e-msix -b x86_vector_msi_compose_msg --source ~/linux
              ktrace tui traces/e1000e-msix.ktrace
              ktrace tui 'run.ktrace#12'
              ktrace tui --attach localhost:1234
            """)
        {
            attach, breakpoints, fromReset,
        };
        boot.AddTo(command);
        prompt.AddTo(command);
        command.SetAction(async (result, cancellationToken) =>
        {
            CheckTerminal();
            var settings = prompt.Read(result);
            var asked = result.GetValue(breakpoints) ?? [];
            if (result.GetValue(attach) is { } endpoint)
            {
                if (boot.Named(result) is { } both)
                {
                    throw new BootException($"{both} and --attach {endpoint}: one of them", "a guest that runs already needs no scenario; --vmlinux names its kernel");
                }

                using var wire = settings.OpenTranscript();
                var files = new AttachFiles(boot.Vmlinux(result), settings.BuildTrees, boot.Modules(result));
                return await LiveAsync(new JoinedGuest(AttachVerb.Parse(endpoint), files, settings.BuildTrees, wire), asked, settings, cancellationToken);
            }

            if (boot.Named(result) is { } name && TraceNamed(name) is { } trace)
            {
                return asked.Length > 0
                    ? throw new BootException($"{trace.File} is a recorded trace: nothing runs in it that could stop", "ktrace replay boots it again")
                    : await TraceAsync(trace, settings, cancellationToken);
            }

            var scenario = boot.Read(result, qemuArguments);
            using var transcript = settings.OpenTranscript();
            return await LiveAsync(new BootedGuest(scenario, new KernelStore(), settings.BuildTrees, result.GetValue(fromReset), transcript), asked, settings, cancellationToken);
        });
        return command;
    }

    /// <summary>Panes need a terminal that can be written anywhere; everything else has a verb of its own.</summary>
    /// <exception cref="BootException">There is none.</exception>
    private static void CheckTerminal()
    {
        var term = Environment.GetEnvironmentVariable("TERM");
        if (Console.IsInputRedirected || Console.IsOutputRedirected)
        {
            throw new BootException("ktrace tui needs a terminal, and standard input or output is none", "ktrace debug takes commands from a pipe; ktrace show prints a trace");
        }

        if (string.IsNullOrEmpty(term) || term == "dumb")
        {
            throw new BootException($"this terminal (TERM={term}) cannot show panes", "ktrace debug works on any terminal; ktrace show prints a trace");
        }
    }

    /// <summary>A trace is told from a scenario by what is in the file; a name that is no file is a scenario's.</summary>
    private static HitReference? TraceNamed(string name)
    {
        var reference = HitReference.Parse(name);
        if (!File.Exists(reference.File))
        {
            return reference.File.EndsWith(".ktrace", StringComparison.Ordinal) ? throw new BootException($"{reference.File}: there is no such trace", "ktrace record -o FILE makes one; recorded ones are in traces/") : null;
        }

        return reference.Hit is not null || reference.File.EndsWith(".ktrace", StringComparison.Ordinal) || TraceReader.BeginsLikeATrace(reference.File) ? reference : null;
    }

    private static async Task<int> TraceAsync(HitReference trace, PromptSettings settings, CancellationToken cancellationToken)
    {
        long? hit = trace.Hit switch
        {
            null => null,
            HitPick.Number number => number.Sequence,
            var pick => TraceQuery.Pick(trace.File, pick).Hit.Sequence,
        };
        await using var target = TraceTarget.Open(trace.File, settings.Sources, hit);
        var file = new RememberedFile(target.Abilities.Identity);
        return await ShowAsync(target, file, file.Load(out _), cancellationToken);
    }

    private static async Task<int> LiveAsync(ILiveGuest guest, string[] asked, PromptSettings settings, CancellationToken cancellationToken)
    {
        var file = new RememberedFile(guest.Abilities.Identity);
        var kept = file.Load(out var note);
        ImmutableArray<string> commands = [.. asked.Select(place => "break " + place)];
        ImmutableArray<string> breakpoints = [.. kept.Breakpoints, .. commands.Where(line => !kept.Breakpoints.Contains(line))];

        // What is asked for by name is wanted, whether it was switched off before or not.
        await using var target = new LiveTarget(guest, new LiveTargetOptions(settings.Sources, breakpoints) { Note = note, Disabled = [.. kept.Disabled.Except(commands)] });
        return await ShowAsync(target, file, kept, cancellationToken);
    }

    /// <summary>The terminal is given back before the target ends: a guest that takes its time does not leave a dead screen.</summary>
    private static async Task<int> ShowAsync(IUiTarget target, RememberedFile file, Remembered kept, CancellationToken cancellationToken)
    {
        using var terminal = PosixTerminal.Open(Environment.GetEnvironmentVariable);
        var app = new TuiApp(terminal, target, UiProgram.Debugger, remembered =>
        {
            if (file.Save(remembered) is { } why)
            {
                throw new IOException(why);
            }
        });
        await app.RunAsync(UiState.Begin(terminal.Size, terminal.Looks, target.Abilities, kept), cancellationToken);
        return CommandRunner.Success;
    }
}
