// ktrace attach: a guest whose QEMU somebody else started with -s or -gdb. It runs on afterwards, with no breakpoint left in it.
using System.CommandLine;
using System.Threading.Channels;
using KTrace.Boot;
using KTrace.Cli.Sessions;
using KTrace.Debugger.Phases;
using KTrace.Debugger.Recording;
using KTrace.Debugger.Sessions;
using KTrace.Debugger.Tracepoints;
using KTrace.Rsp;
using KTrace.Tracing;
using KTrace.Tui.Commands;

namespace KTrace.Cli.Verbs;

internal static class AttachVerb
{
    public static Command Create()
    {
        var endpoint = new Argument<string>("stub") { HelpName = "tcp:HOST:PORT|unix:PATH", Description = "Where QEMU's gdb stub listens; -s of QEMU is tcp:localhost:1234" };
        var vmlinux = new Option<string?>("--vmlinux") { HelpName = "FILE", Description = "The kernel's vmlinux; without it, it is looked for by the guest's build id" };
        var modules = new Option<string[]>("--modules") { HelpName = "DIR", Description = "Where .ko files and their debug files are; may be given several times" };
        var breakpoints = new Option<string[]>("--break", "-b") { HelpName = "PLACE[ if COND][ print EXPR, …][ return …]", Description = "Record this tracepoint into a trace, instead of taking commands; may be given several times" };
        var output = new Option<string?>("--output", "-o") { HelpName = "FILE", Description = "The trace to write (attached.ktrace)" };
        var timeout = TimeoutOption.Create("Record so long");
        var maximum = new Option<int?>("--max-hits") { HelpName = "N", Description = "Record so many hits" };

        // Known so that it can be answered: who records without stops elsewhere tries it here.
        var noStop = new Option<bool>("--no-stop") { Hidden = true };
        var prompt = new PromptOptions();
        var command = new Command(
            "attach",
            """
            Debug or record a guest that runs already, in a QEMU that was started with -s or -gdb. Its kernel is told by its build id. Afterwards it runs on, without breakpoints.

            Examples:
              ktrace attach tcp:localhost:1234
              ktrace attach unix:/run/vm/gdb.sock --build-tree ~/linux --ex bt --batch
              ktrace attach tcp:localhost:1234 -b 'tcp_v4_connect print sk' --timeout 60 -o connects.ktrace
            """)
        {
            endpoint, vmlinux, modules, breakpoints, output, timeout, maximum, noStop,
        };
        prompt.AddTo(command);
        command.SetAction((result, cancellationToken) =>
        {
            var settings = prompt.Read(result);
            var files = new AttachFiles(result.GetValue(vmlinux), settings.BuildTrees, result.GetValue(modules) ?? []);
            var limits = new RecorderLimits(result.GetValue(maximum), result.GetValue(timeout) is { } seconds ? TimeSpan.FromSeconds(seconds) : null, null);
            var asked = result.GetValue(breakpoints) ?? [];
            if (result.GetValue(noStop))
            {
                throw new BootException(
                    $"{(asked is [var first, ..] ? first : "a guest that runs already")} cannot be traced without stops: its QEMU was started by somebody else, and its kernel has left no memory for trampolines",
                    "ktrace record boots a guest that can be traced so; or leave --no-stop out");
            }

            return asked.Length == 0
                ? DebugAsync(Parse(result.GetRequiredValue(endpoint)), files, settings, cancellationToken)
                : RecordAsync(Parse(result.GetRequiredValue(endpoint)), files, asked, limits, result.GetValue(output) ?? "attached.ktrace", settings, cancellationToken);
        });
        return command;
    }

    /// <exception cref="BootException">No endpoint.</exception>
    internal static RspEndpoint Parse(string text)
    {
        try
        {
            return RspEndpoint.Parse(text.StartsWith("tcp:", StringComparison.Ordinal) || text.StartsWith("unix:", StringComparison.Ordinal) || text.StartsWith("pipe:", StringComparison.Ordinal)
                ? text
                : text.StartsWith('/') ? "unix:" + text : "tcp:" + text);
        }
        catch (FormatException e)
        {
            throw new BootException(e.Message, "QEMU's -s listens at tcp:localhost:1234");
        }
    }

    private static async Task<int> DebugAsync(RspEndpoint endpoint, AttachFiles files, PromptSettings settings, CancellationToken cancellationToken)
    {
        using var status = new RecordingStatus();
        using var transcript = settings.OpenTranscript();
        await using var guest = await AttachedGuest.AttachAsync(
            endpoint, files, new RspClientOptions { Transcript = transcript }, status, status.Say, cancellationToken);
        using var prompt = new Prompt(settings, null);
        var options = new SessionOptions { Progress = prompt, BootCode = BootCode.Open(null, settings.BuildTrees) };
        var session = await DebugSession.StartAsync(guest.Target, guest.Modules, options, cancellationToken);
        return await prompt.RunAsync(session, new SourceTree(settings.Sources), cancellationToken);
    }

    private static async Task<int> RecordAsync(
        RspEndpoint endpoint, AttachFiles files, string[] asked, RecorderLimits limits, string output, PromptSettings settings, CancellationToken cancellationToken)
    {
        TraceOutput.Check(output);
        using var status = new RecordingStatus();
        using var transcript = settings.OpenTranscript();
        await using var guest = await AttachedGuest.AttachAsync(
            endpoint, files, new RspClientOptions { Transcript = transcript }, status, status.Say, cancellationToken);
        var image = guest.Target.Map.Image;
        var tracepoints = new TracepointResolver(image, guest.Modules).Resolve(asked);
        using var writer = new TraceWriter(output);
        writer.Write(BootHeader.Of(image, new Dictionary<string, object?> { ["attached"] = endpoint.ToString() }) with
        {
            Slide = guest.Target.Map.Slide,
            HasContexts = true,
            Tracepoints = [.. tracepoints.Select(t => t.ToRecord())],
        });

        // Its console is somebody else's.
        var console = Channel.CreateUnbounded<ReadOnlyMemory<byte>>();
        console.Writer.Complete();
        var recorder = new Recorder(guest.Target, tracepoints, guest.Modules, writer, console.Reader, limits, status);
        var result = await recorder.RunAsync(null, cancellationToken);
        status.Dispose();
        Console.Out.WriteLine(RecordVerb.Summary(new RecordingOutcome(output, result, true)));
        return CommandRunner.Success;
    }
}
