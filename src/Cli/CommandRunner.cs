using System.CommandLine;
using KTrace.Boot;
using KTrace.Debugger;
using KTrace.Rsp;
using KTrace.Symbols;
using KTrace.Tracing;
using KTrace.Tui.Terminal;
using KTrace.Tui.Views;

namespace KTrace.Cli;

/// <summary>
/// Runs the verb and turns every declared exception into one line for what and one for the remedy. No stack trace of ours is ever printed.
/// Exit codes: 0 done, 1 differs or not found, 2 error, 130 Ctrl-C, 143 SIGTERM.
/// </summary>
internal static class CommandRunner
{
    public const int Success = 0;
    public const int Different = 1;
    public const int Error = 2;

    public static async Task<int> RunAsync(RootCommand root, string[] args)
    {
        AppDomain.CurrentDomain.UnhandledException += (_, e) =>
        {
            // Another thread's: nothing can be unwound any more, but the user still gets a line and no stack trace. QEMU goes with this process.
            FailInternally(e.ExceptionObject as Exception ?? new InvalidOperationException(e.ExceptionObject.ToString()));
            Environment.Exit(Error);
        };
        using var signals = new Signals();
        try
        {
            // A word with an @ is a set of functions here, and no file with more arguments.
            var parsed = root.Parse(args, new ParserConfiguration { ResponseFileTokenReplacer = null });
            if (Misspelling.Find(parsed, args) is { } misspelt)
            {
                return Fail(misspelt.Message, misspelt.Remedy);
            }

            var code = await parsed.InvokeAsync(new InvocationConfiguration { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null }, signals.Token);
            return signals.ExitCode ?? code;
        }
        catch (OperationCanceledException) when (signals.ExitCode is not null)
        {
            Console.Error.WriteLine("ktrace: interrupted");
            return signals.ExitCode.Value;
        }
        catch (Exception e)
        {
            return Explain(e) is { } explanation ? Fail(explanation.Message, explanation.Remedy) : FailInternally(e);
        }
    }

    /// <summary>A bug of ours: one line for people, and everything for whoever asks for it.</summary>
    public static int FailInternally(Exception e)
    {
        Say($"ktrace: internal error: {e.GetType().Name}: {e.Message}; please report it (KTRACE_DEBUG=1 shows where)");
        if (Environment.GetEnvironmentVariable("KTRACE_DEBUG") is { Length: > 0 })
        {
            Say(e.ToString());
        }

        return Error;
    }

    /// <summary>Prints an error as every verb does, and gives the exit code for it.</summary>
    public static int Fail(string message, string? remedy = null)
    {
        Say("ktrace: " + message);
        if (remedy is not null)
        {
            Say("try: " + remedy);
        }

        return Error;
    }

    /// <summary>Our own line ends stay; whatever else is not to reach a terminal does not.</summary>
    private static void Say(string text)
    {
        foreach (var line in text.Split('\n'))
        {
            Console.Error.WriteLine(TerminalText.Sanitize(line));
        }
    }

    private static (string Message, string? Remedy)? Explain(Exception e) => e switch
    {
        BootException boot => (boot.Message, boot.Remedy),
        TargetException target => (target.Message, target.Remedy),
        MalformedFileException malformed => (malformed.Message, null),
        RspException rsp => (rsp.Message, null),
        TerminalException terminal => (terminal.Message, terminal.Remedy),
        FileNotFoundException missing => ($"{missing.FileName}: no such file", null),
        DirectoryNotFoundException or UnauthorizedAccessException => (e.Message, null),
        IOException io => (io.Message, null),
        TraceQueryException query => (query.Message, null),
        AggregateException { InnerException: { } inner } => Explain(inner),
        _ => null,
    };
}
